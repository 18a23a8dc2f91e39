// The rows of a grid or of a run's tasks: groups by the dots in a task's id, in the order of the task graph,
// each open or folded.

export interface RowTask {
  task_id: string;
  /** Whether it stands for several task runs at once. */
  mapped?: boolean;
}

export interface GraphTask {
  task_id: string;
  upstream: readonly string[];
}

export interface TaskRow {
  kind: "task";
  key: string;
  label: string;
  depth: number;
  /** The task's place in the list that was given. */
  task: number;
}

export interface GroupRow {
  kind: "group";
  key: string;
  label: string;
  depth: number;
  open: boolean;
  /** The places of all tasks in it and in the groups below it. */
  tasks: readonly number[];
}

export type Row = TaskRow | GroupRow;

interface Group {
  key: string;
  label: string;
  children: (Group | number)[];
  groups: Map<string, Group>;
}

/** Tasks come before those that wait for them; what the graph does not know keeps its place. */
export function graphOrder(tasks: readonly RowTask[], graph: readonly GraphTask[]): number[] {
  const depth = depths(graph);
  return tasks
    .map((task, place) => ({ place, depth: depth.get(task.task_id) ?? 0 }))
    .sort((a, b) => a.depth - b.depth || a.place - b.place)
    .map(({ place }) => place);
}

/** The longest way to each task from one without an upstream. Edges of a circle are left out. */
export function depths(graph: readonly GraphTask[]): Map<string, number> {
  const upstream = new Map(graph.map((task) => [task.task_id, task.upstream]));
  const depth = new Map<string, number>();
  const waiting = new Map<string, number>();
  const downstream = new Map<string, string[]>();
  for (const [id, above] of upstream) {
    const known = above.filter((other) => upstream.has(other) && other !== id);
    waiting.set(id, known.length);
    for (const other of known) downstream.set(other, [...(downstream.get(other) ?? []), id]);
  }
  let ready = [...waiting].filter(([, count]) => count === 0).map(([id]) => id);
  for (let level = 0; ready.length > 0; level += 1) {
    const next: string[] = [];
    for (const id of ready) {
      depth.set(id, level);
      for (const below of downstream.get(id) ?? []) {
        const left = (waiting.get(below) ?? 0) - 1;
        waiting.set(below, left);
        if (left === 0) next.push(below);
      }
    }
    ready = next;
  }
  return depth;
}

export function layoutRows(
  tasks: readonly RowTask[],
  order: readonly number[],
  folded: ReadonlySet<string>,
): Row[] {
  const root: Group = { key: "", label: "", children: [], groups: new Map() };
  const ids = new Set(tasks.map((task) => task.task_id));
  for (const place of order) {
    const task = tasks[place];
    if (task !== undefined) groupOf(root, task.task_id, ids).children.push(place);
  }
  const rows: Row[] = [];
  addRows(rows, root, tasks, folded, 0);
  return rows;
}

/** All groups, by which they can be folded at once. */
export function groupKeys(tasks: readonly RowTask[]): string[] {
  const keys = new Set<string>();
  for (const { task_id } of tasks) {
    for (let dot = task_id.indexOf("."); dot > 0; dot = task_id.indexOf(".", dot + 1))
      keys.add(task_id.slice(0, dot));
  }
  return [...keys];
}

function groupOf(root: Group, taskId: string, ids: ReadonlySet<string>): Group {
  const names = taskId.split(".").slice(0, -1);
  let group = root;
  let key = "";
  for (const name of names) {
    key = key === "" ? name : `${key}.${name}`;
    // A task may be called like a group would be: then the dot is part of a name.
    if (name === "" || ids.has(key)) return group;
    let child = group.groups.get(name);
    if (child === undefined) {
      child = { key, label: name, children: [], groups: new Map() };
      group.groups.set(name, child);
      group.children.push(child);
    }
    group = child;
  }
  return group;
}

function addRows(
  rows: Row[],
  group: Group,
  tasks: readonly RowTask[],
  folded: ReadonlySet<string>,
  depth: number,
): void {
  for (const child of group.children) {
    if (typeof child === "number") {
      const id = tasks[child]?.task_id ?? "";
      const label = group.key === "" ? id : id.slice(group.key.length + 1);
      rows.push({ kind: "task", key: id, label, depth, task: child });
      continue;
    }
    const open = !folded.has(child.key);
    rows.push({ kind: "group", key: child.key, label: child.label, depth, open, tasks: membersOf(child) });
    if (open) addRows(rows, child, tasks, folded, depth + 1);
  }
}

function membersOf(group: Group): number[] {
  return group.children.flatMap((child) => (typeof child === "number" ? [child] : membersOf(child)));
}
