// How long a run was expected to take, in words.
import type { ExpectedRun } from "../../api/model";
import { duration } from "../../data/format";

/** Compares a duration with that of comparable runs, as the signals of the API do. */
export function expectedSentence(expected: ExpectedRun, seconds: number | null, running: boolean): string {
  const { duration_seconds: usual, slow_after_seconds: limit } = expected;
  const text = `Comparable runs take ${duration(usual)}; one is slow after ${duration(limit)}`;
  if (seconds === null || seconds <= limit) return `${text}.`;
  return `${text}: this run ${running ? "is slow already" : "was slow"}.`;
}

/** Whether a run has not ended by the time at which it was expected to. */
export function isOverdue({ finish_by }: ExpectedRun, endedAt: string | null, now: number): boolean {
  if (finish_by === null) return false;
  return (endedAt === null ? now : Date.parse(endedAt)) > Date.parse(finish_by);
}
