import { expect, test } from "vitest";
import { lastRunsState } from "./last_runs";

test.each([
  [[], "unknown"],
  [[{ value: "never_run", count: 7 }], "unknown"],
  [[{ value: "failed", count: 7 }], "failed"],
  [
    [
      { value: "failed", count: 6 },
      { value: "success", count: 1 },
    ],
    "success",
  ],
])("the last runs %j are %s", (statuses, state) => expect(lastRunsState(statuses)).toBe(state));
