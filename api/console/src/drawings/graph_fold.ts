// Folds a task graph that is too large to read: first its groups, then tasks that have the same neighbours,
// then whole layers. What is folded stands as one node.

import { depths } from "./rows";

export interface GraphTaskInput {
  task_id: string;
  upstream: readonly string[];
}

export interface GraphNode {
  id: string;
  label: string;
  /** The tasks behind the node: one, or all of what is folded. */
  tasks: readonly string[];
}

export interface Graph {
  nodes: readonly GraphNode[];
  /** Pairs of places in `nodes`, from upstream to downstream. */
  edges: readonly (readonly [number, number])[];
}

export const MAX_NODES = 300;

/** `open` are the groups that stay open although the graph is folded. */
export function foldGraph(
  tasks: readonly GraphTaskInput[],
  open: ReadonlySet<string> = new Set(),
  most = MAX_NODES,
): Graph {
  const single = new Map(tasks.map((task) => [task.task_id, task.task_id]));
  if (tasks.length <= most) return build(tasks, single, (key) => key);
  let keys = new Map(tasks.map((task) => [task.task_id, groupKey(task.task_id, open)]));
  let graph = build(tasks, keys, (key, count) => (count === 1 ? key : `${key} (${count})`));
  if (graph.nodes.length <= most) return graph;
  keys = bySameNeighbours(graph);
  graph = build(tasks, keys, bundleLabel);
  if (graph.nodes.length <= most) return graph;
  return build(tasks, byLayer(graph, most), (_, count, first) => `${first} … (${count})`);
}

function groupKey(taskId: string, open: ReadonlySet<string>): string {
  for (let dot = taskId.indexOf("."); dot > 0; dot = taskId.indexOf(".", dot + 1)) {
    const key = taskId.slice(0, dot);
    if (!open.has(key)) return key;
  }
  return taskId;
}

function bundleLabel(_: string, count: number, first: string): string {
  return count === 1 ? first : `${first} … (${count})`;
}

/** Tasks → the key of the node that stands for them: nodes with the same neighbours share one. */
function bySameNeighbours(graph: Graph): Map<string, string> {
  const above = graph.nodes.map(() => [] as number[]);
  const below = graph.nodes.map(() => [] as number[]);
  for (const [from, to] of graph.edges) {
    below[from]?.push(to);
    above[to]?.push(from);
  }
  const keys = new Map<string, string>();
  graph.nodes.forEach((node, place) => {
    const neighbours = [above, below].map((lists) =>
      [...(lists[place] ?? [])].sort((a, b) => a - b).join(","),
    );
    // A node without neighbours says nothing about what it belongs to, but there may be thousands of them.
    for (const task of node.tasks) keys.set(task, neighbours.join("|"));
  });
  return keys;
}

function byLayer(graph: Graph, most: number): Map<string, string> {
  const depth = depths(
    graph.nodes.map((node, place) => ({
      task_id: node.id,
      upstream: graph.edges.filter(([, to]) => to === place).map(([from]) => graph.nodes[from]?.id ?? ""),
    })),
  );
  const deepest = Math.max(...depth.values(), 0);
  const step = Math.ceil((deepest + 1) / most);
  const keys = new Map<string, string>();
  for (const node of graph.nodes) {
    const layer = Math.floor((depth.get(node.id) ?? 0) / step);
    for (const task of node.tasks) keys.set(task, `layer ${layer}`);
  }
  return keys;
}

function build(
  tasks: readonly GraphTaskInput[],
  keys: ReadonlyMap<string, string>,
  label: (key: string, count: number, first: string) => string,
): Graph {
  const places = new Map<string, number>();
  const members: string[][] = [];
  for (const { task_id } of tasks) {
    const key = keys.get(task_id) ?? task_id;
    const place = places.get(key);
    if (place === undefined) {
      places.set(key, members.length);
      members.push([task_id]);
    } else members[place]?.push(task_id);
  }
  const placeOf = (task: string): number | undefined => places.get(keys.get(task) ?? task);
  const seen = new Set<string>();
  const edges: [number, number][] = [];
  for (const { task_id, upstream } of tasks) {
    const to = placeOf(task_id);
    for (const other of upstream) {
      const from = placeOf(other);
      if (from === undefined || to === undefined || from === to || seen.has(`${from} ${to}`)) continue;
      seen.add(`${from} ${to}`);
      edges.push([from, to]);
    }
  }
  const nodes = [...places].map(([key, place]) => {
    const own = members[place] ?? [];
    return { id: key, label: label(key, own.length, own[0] ?? key), tasks: own };
  });
  return { nodes, edges };
}
