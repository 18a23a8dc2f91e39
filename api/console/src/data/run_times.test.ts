import { expect, test } from "vitest";
import { runTime } from "./run_times";

test("a run is named by its start, and before that by when it is due or was queued", () => {
  const [started_at, run_after, queued_at] = [
    "2026-01-01T05:02:00Z",
    "2026-01-01T05:00:00Z",
    "2026-01-01T05:01:00Z",
  ];
  expect(runTime({ started_at, run_after, queued_at })).toBe(started_at);
  expect(runTime({ started_at: null, run_after, queued_at })).toBe(run_after);
  expect(runTime({ started_at: null, run_after: null, queued_at })).toBe(queued_at);
  expect(runTime({ started_at: null, run_after: null, queued_at: null })).toBe(null);
});
