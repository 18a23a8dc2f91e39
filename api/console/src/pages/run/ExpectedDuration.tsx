import type { RunDetail } from "../../api/model";
import { Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { runSeconds } from "../../drawings/strip";
import { expectedSentence, isOverdue } from "./expected";

/** What was expected of the run, beside what is usual of its pipeline: comparable are those of the same time of day. */
export function ExpectedDuration({ run }: { run: RunDetail }) {
  const isOpen = run.ended_at === null;
  const now = useNow(isOpen ? 5 : 0);
  const { expected } = run;
  if (!expected) return null;
  return (
    <div class="facts-line small">
      <span>{expectedSentence(expected, runSeconds(run, now), run.status === "running")}</span>
      {expected.finish_by && (
        <span>
          <span class="quiet">Expected to end by </span>
          <Time at={expected.finish_by} as="second" />
          {isOverdue(expected, run.ended_at, now) && <b>{isOpen ? ": it has not" : ": it ended later"}</b>}
        </span>
      )}
    </div>
  );
}
