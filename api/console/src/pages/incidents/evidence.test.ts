import { expect, test } from "vitest";
import type { Incident } from "../../api/model";
import { factsOf } from "./evidence";

const incident = (kind: Incident["kind"], evidence: Incident["evidence"]) =>
  ({ kind, evidence, last_run_id: "latest" }) as Incident;

test("a slow run is told by its limits and what it is compared with", () => {
  const facts = factsOf(
    incident("slow", {
      due_at: "2026-01-01T05:00:00Z",
      started_at: "2026-01-01T05:00:02Z",
      seen_at: "2026-01-01T05:12:02Z",
      elapsed_seconds: 720,
      limit_seconds: 485,
      duration_p50_seconds: 300,
      duration_p95_seconds: 360,
      class: "hour_of_week",
      runs: 12,
    }),
  );
  expect(facts).toEqual([
    { label: "Due", at: "2026-01-01T05:00:00Z" },
    { label: "Started", at: "2026-01-01T05:00:02Z" },
    { label: "Had been running for", text: "12 min 00 s" },
    { label: "Too long after", text: "8 min 05 s" },
    { label: "Usual duration", text: "5 min 00 s" },
    { label: "95 % end within", text: "6 min 00 s" },
    { label: "Compared with", text: "12 runs of the same hour of the week" },
    { label: "Seen", at: "2026-01-01T05:12:02Z" },
  ]);
});

test("failures link to the first of them, a connector has its schedule", () => {
  expect(
    factsOf(
      incident("failing", {
        failures: 3,
        first_failed_at: "2026-01-01T05:00:00Z",
        first_failed_run_id: "r",
      }),
    ),
  ).toEqual([
    { label: "Failures in a row", text: "3" },
    { label: "First failure", at: "2026-01-01T05:00:00Z" },
    { label: "First failed run", text: "Open the run", run: "r" },
  ]);
  const stale = { last_good_at: "2026-01-01T05:00:00Z", schedule: "*/30 * * * * *" };
  expect(factsOf(incident("connector_stale", stale)).at(-1)).toEqual({
    label: "Schedule",
    text: "Every 30 seconds",
  });
});

test("the task that failed first is linked in the latest run", () => {
  const first_failed_task = { task_run_id: "t", task_id: "load", map_index: 2 };
  expect(
    factsOf(incident("failing", { first_failed_task, failed_tasks: 3, upstream_failed_tasks: 0 })),
  ).toEqual([
    { label: "First failed task", text: "load [2]", run: "latest", taskRun: "t" },
    { label: "Failed tasks", text: "3" },
  ]);
  expect(factsOf(incident("failing", { first_failed_task: null, failed_tasks: 0 }))).toEqual([]);
});

test("numbers that a later release leaves out are left out", () => {
  expect(factsOf(incident("late_start", {}))).toEqual([]);
  expect(factsOf(incident("late_start", { elapsed_seconds: 60, started_at: null }))).toEqual([
    { label: "Not started after", text: "1 min 00 s" },
  ]);
});
