import { expect, test } from "vitest";
import type { TaskRun } from "../../../api/model";
import { filterTasks, flatLines, groupedLines } from "./task_rows";

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();

function task(
  task_id: string,
  map_index: number,
  status: TaskRun["status"],
  started: number,
  ended: number | null,
): TaskRun {
  return {
    id: `${task_id} ${map_index}`,
    run_id: "r",
    task_id,
    map_index,
    name: task_id,
    operator: null,
    status,
    provider_status: status,
    try_number: 1,
    max_tries: 0,
    queued_at: at(started),
    started_at: at(started),
    ended_at: ended === null ? null : at(ended),
    duration_seconds: ended === null ? null : ended - started,
    pool: null,
    queue: null,
    hostname: null,
    comment_count: map_index === 1 ? 2 : 0,
    deleted_at: null,
  };
}

const tasks = [
  task("publish", -1, "success", 50, 60),
  task("load.read", -1, "success", 0, 10),
  task("load.count", 1, "failed", 12, 40),
  task("load.count", 0, "success", 10, 20),
  task("load.count", 2, "running", 30, null),
];
const graph = [
  { task_id: "load.read", operator: null, upstream: [], downstream: [] },
  { task_id: "load.count", operator: null, upstream: ["load.read"], downstream: [] },
  { task_id: "publish", operator: null, upstream: ["load.count"], downstream: [] },
];

test("lines follow the graph, and a mapped task is one of them", () => {
  const lines = groupedLines(tasks, graph, new Set());
  expect(lines.map((line) => `${"  ".repeat(line.depth)}${line.label}`)).toEqual([
    "load",
    "  read",
    "  count",
    "publish",
  ]);
  const mapped = lines[2];
  expect(mapped?.counts.map(({ state, count }) => [state, count])).toEqual([
    ["failed", 1],
    ["running", 1],
    ["success", 1],
  ]);
  expect([mapped?.bar.started, mapped?.bar.ended, mapped?.comments]).toEqual([Date.parse(at(10)), null, 2]);
});

test("an opened mapped task shows its instances in order, and a folded group none", () => {
  const opened = groupedLines(tasks, graph, new Set(["load.count"]));
  expect(opened.map((line) => line.label)).toEqual(["load", "read", "count", "[0]", "[1]", "[2]", "publish"]);
  expect(groupedLines(tasks, graph, new Set(["load"])).map((line) => line.label)).toEqual([
    "load",
    "publish",
  ]);
});

test("filters by state and by words, with the index of an instance", () => {
  const only = (states: TaskRun["status"][], text: string) =>
    filterTasks(tasks, { states: new Set(states), text }).map((found) => found.id);
  expect(only(["failed", "running"], "")).toEqual(["load.count 1", "load.count 2"]);
  expect(only([], "COUNT [2]")).toEqual(["load.count 2"]);
  expect(only([], "")).toHaveLength(5);
});

test("sorted by start or by duration the lines are flat", () => {
  expect(flatLines(tasks, "started", 0).map((line) => line.label)).toEqual([
    "load.read",
    "load.count [0]",
    "load.count [1]",
    "load.count [2]",
    "publish",
  ]);
  expect(flatLines(tasks, "duration", Date.parse(at(40)))[0]?.label).toBe("load.count [1]");
});

test("5,000 mapped task runs are one line until it is opened", () => {
  const many = Array.from({ length: 5000 }, (_, n) => task("process", n, "success", n, n + 1));
  expect(groupedLines(many, [], new Set())).toHaveLength(1);
  expect(groupedLines(many, [], new Set(["process"]))).toHaveLength(5001);
});
