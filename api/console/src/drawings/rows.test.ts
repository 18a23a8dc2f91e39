import { expect, test } from "vitest";
import { depths, graphOrder, groupKeys, layoutRows } from "./rows";

const tasks = ["load.orders.read", "start", "load.orders.clean", "load.customers", "end"].map((task_id) => ({
  task_id,
}));
const graph = [
  { task_id: "start", upstream: [] },
  { task_id: "load.orders.read", upstream: ["start"] },
  { task_id: "load.orders.clean", upstream: ["load.orders.read"] },
  { task_id: "load.customers", upstream: ["start"] },
  { task_id: "end", upstream: ["load.orders.clean", "load.customers"] },
];
const order = graphOrder(tasks, graph);

test("rows follow the graph, and groups stay together", () => {
  const rows = layoutRows(tasks, order, new Set());
  expect(rows.map((row) => `${"  ".repeat(row.depth)}${row.label}`)).toEqual([
    "start",
    "load",
    "  orders",
    "    read",
    "    clean",
    "  customers",
    "end",
  ]);
});

test("a folded group hides what is in it, and still knows its tasks", () => {
  const rows = layoutRows(tasks, order, new Set(["load"]));
  expect(rows.map((row) => row.key)).toEqual(["start", "load", "end"]);
  expect(rows[1]).toMatchObject({ kind: "group", open: false });
  const group = rows[1];
  expect(group?.kind === "group" && [...group.tasks].sort()).toEqual([0, 2, 3]);
});

test("only the inner group can be folded", () => {
  const rows = layoutRows(tasks, order, new Set(["load.orders"]));
  expect(rows.map((row) => row.key)).toEqual(["start", "load", "load.orders", "load.customers", "end"]);
});

test("a task that is called like a group is no group", () => {
  const odd = [{ task_id: "a" }, { task_id: "a.b" }, { task_id: ".hidden" }, { task_id: "c..d" }];
  const rows = layoutRows(odd, [0, 1, 2, 3], new Set());
  expect(rows.filter((row) => row.kind === "task").map((row) => row.key)).toEqual([
    "a",
    "a.b",
    ".hidden",
    "c..d",
  ]);
  expect(rows.some((row) => row.kind === "group" && row.key === "a")).toBe(false);
});

test("groups are known by their keys", () => {
  expect(groupKeys(tasks)).toEqual(["load", "load.orders"]);
});

test("a circle in the graph and an upstream that is gone hold nothing up", () => {
  const odd = [
    { task_id: "a", upstream: ["b", "gone"] },
    { task_id: "b", upstream: ["a"] },
    { task_id: "c", upstream: [] },
  ];
  expect(depths(odd).get("c")).toBe(0);
  expect(graphOrder([{ task_id: "a" }, { task_id: "b" }, { task_id: "c" }], odd)).toHaveLength(3);
});
