import { expect, test } from "vitest";
import { layoutGraph } from "./graph";
import { foldGraph, type GraphTaskInput } from "./graph_fold";
import { NODE, nodeWidth } from "./graph_messages";

const geometry = { ...NODE, nodeWidth };

function task(task_id: string, ...upstream: string[]): GraphTaskInput {
  return { task_id, upstream };
}

function overlaps(layout: ReturnType<typeof layoutGraph>): number {
  let count = 0;
  layout.nodes.forEach((a, i) =>
    layout.nodes.slice(i + 1).forEach((b) => {
      if (a.layer === b.layer && Math.abs(a.y - b.y) < a.height) count += 1;
    }),
  );
  return count;
}

test("a task stands to the right of all it waits for", () => {
  const graph = foldGraph([task("d", "b", "c", "a"), task("a"), task("b", "a"), task("c", "b")]);
  const { nodes, edges } = layoutGraph(graph, geometry);
  for (const [from, to] of graph.edges) {
    const [left, right] = [nodes[from], nodes[to]];
    if (left === undefined || right === undefined) throw new Error("a node is missing");
    expect(right.x).toBeGreaterThanOrEqual(left.x + left.width);
  }
  expect(edges).toHaveLength(graph.edges.length);
});

test("a chain is a straight line", () => {
  const { nodes } = layoutGraph(foldGraph([task("a"), task("b", "a"), task("c", "b")]), geometry);
  expect(new Set(nodes.map((node) => node.y)).size).toBe(1);
});

test("crossed edges are uncrossed", () => {
  const graph = foldGraph([task("a"), task("b"), task("x", "b"), task("y", "a")]);
  const { nodes } = layoutGraph(graph, geometry);
  const y = (id: string) => nodes[graph.nodes.findIndex((node) => node.id === id)]?.y ?? 0;
  expect(y("a") < y("b")).toBe(y("y") < y("x"));
});

test("nodes of a layer never overlap", () => {
  const wide = Array.from({ length: 60 }, (_, n) =>
    task(`t${n}`, ...(n < 10 ? [] : [`t${(n * 7) % 10}`, `t${n - 10}`])),
  );
  const layout = layoutGraph(foldGraph(wide), geometry);
  expect(overlaps(layout)).toBe(0);
  expect(Math.min(...layout.nodes.map((node) => node.y))).toBeGreaterThanOrEqual(0);
});

test("a circle is laid out, not waited for", () => {
  const layout = layoutGraph(foldGraph([task("a", "c"), task("b", "a"), task("c", "b")]), geometry);
  expect(layout.nodes).toHaveLength(3);
  expect(new Set(layout.nodes.map((node) => node.layer)).size).toBe(3);
});

test("an empty graph has no size", () => {
  expect(layoutGraph(foldGraph([]), geometry)).toEqual({ nodes: [], edges: [], width: 0, height: 0 });
});

test("above 300 tasks the groups are folded, and one of them can be opened", () => {
  const many = Array.from({ length: 2000 }, (_, n) =>
    task(`g${n % 20}.t${n}`, ...(n < 20 ? [] : [`g${n % 20}.t${n - 20}`])),
  );
  expect(foldGraph(many).nodes).toHaveLength(20);
  expect(foldGraph(many).nodes[0]?.tasks).toHaveLength(100);
  expect(foldGraph(many, new Set(["g3"])).nodes).toHaveLength(119);
});

test("tasks without groups that share their neighbours are folded", () => {
  const fan = [
    task("start"),
    ...Array.from({ length: 500 }, (_, n) => task(`t${n}`, "start")),
    task("end", "t1"),
  ];
  const graph = foldGraph(fan);
  expect(graph.nodes.length).toBeLessThan(10);
  expect(graph.nodes.reduce((sum, node) => sum + node.tasks.length, 0)).toBe(502);
});

test("whatever the graph, at most 300 nodes are drawn", () => {
  const chain = Array.from({ length: 2000 }, (_, n) => task(`t${n}`, ...(n === 0 ? [] : [`t${n - 1}`])));
  expect(foldGraph(chain).nodes.length).toBeLessThanOrEqual(300);
  expect(foldGraph(chain).edges.length).toBeGreaterThan(100);
});
