// The rows of a run's tasks: groups, mapped tasks with their instances, and single tasks, each with its bar.
import type { TaskNode, TaskRun } from "../../../api/model";
import { addCounts, type StateCount } from "../../../drawings/counts";
import { ganttBar, joinBars, type GanttBar } from "../../../drawings/gantt";
import { graphOrder, layoutRows } from "../../../drawings/rows";
import { stateOf, type StateName } from "../../../drawings/states";

export interface TaskLine {
  key: string;
  label: string;
  depth: number;
  bar: GanttBar;
  /** The task run, or null where the line stands for several. */
  task: TaskRun | null;
  /** Whether it is open; null for a single task run. */
  open: boolean | null;
  counts: readonly StateCount[];
  comments: number;
}

export type Order = "graph" | "started" | "duration";

export interface TaskFilter {
  states: ReadonlySet<StateName>;
  text: string;
}

export function filterTasks(tasks: readonly TaskRun[], filter: TaskFilter): readonly TaskRun[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0 && filter.states.size === 0) return tasks;
  return tasks.filter((task) => {
    if (filter.states.size > 0 && !filter.states.has(stateOf(task.status))) return false;
    const text = instanceName(task).toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** Lines in the order of the graph, grouped; what is in `toggled` is the other way round than at first. */
export function groupedLines(
  tasks: readonly TaskRun[],
  graph: readonly TaskNode[],
  toggled: ReadonlySet<string>,
): TaskLine[] {
  const byTask = new Map<string, TaskRun[]>();
  for (const task of tasks) {
    const list = byTask.get(task.task_id);
    if (list === undefined) byTask.set(task.task_id, [task]);
    else list.push(task);
  }
  const ids = [...byTask.keys()].map((task_id) => ({ task_id }));
  // Groups begin open. A set of folded ones is what the layout asks for.
  const rows = layoutRows(ids, graphOrder(ids, graph), toggled);
  return rows.flatMap((row) => {
    if (row.kind === "task") return taskLines(byTask.get(row.key) ?? [], row.label, row.depth, toggled);
    const members = row.tasks.flatMap((place) => byTask.get(ids[place]?.task_id ?? "") ?? []);
    return [joinedLine(row.key, row.label, row.depth, members, row.open)];
  });
}

/** A mapped task is one line, which opens to its instances. */
function taskLines(
  runs: readonly TaskRun[],
  label: string,
  depth: number,
  toggled: ReadonlySet<string>,
): TaskLine[] {
  const [first] = runs;
  if (first === undefined) return [];
  if (runs.length === 1)
    return [taskLine(first, first.map_index < 0 ? label : `${label} [${first.map_index}]`, depth)];
  const open = toggled.has(first.task_id);
  const line = joinedLine(first.task_id, label, depth, runs, open);
  if (!open) return [line];
  const sorted = [...runs].sort((a, b) => a.map_index - b.map_index);
  return [line, ...sorted.map((run) => taskLine(run, `[${run.map_index}]`, depth + 1))];
}

/** Lines without groups, the earliest or the longest first. */
export function flatLines(
  tasks: readonly TaskRun[],
  order: Exclude<Order, "graph">,
  now: number,
): TaskLine[] {
  const lines = tasks.map((task) => taskLine(task, instanceName(task), 0));
  const key = ({ bar }: TaskLine): number => {
    if (order === "started") return bar.started ?? bar.queued ?? Infinity;
    return bar.started === null ? 0 : bar.started - (bar.ended ?? (bar.open ? now : bar.started));
  };
  return lines.sort((a, b) => key(a) - key(b));
}

function taskLine(task: TaskRun, label: string, depth: number): TaskLine {
  const bar = ganttBar(task);
  const counts = [{ state: bar.state, count: 1 }];
  return { key: task.id, label, depth, bar, task, open: null, counts, comments: task.comment_count };
}

function joinedLine(
  key: string,
  label: string,
  depth: number,
  runs: readonly TaskRun[],
  open: boolean,
): TaskLine {
  const counts = addCounts(runs.map((run) => [{ state: stateOf(run.status), count: 1 }]));
  const bar = joinBars(runs.map(ganttBar), counts[0]?.state ?? "unknown");
  const comments = runs.reduce((sum, run) => sum + run.comment_count, 0);
  return { key, label, depth, bar, task: null, open, counts, comments };
}

export function instanceName(task: TaskRun): string {
  return task.map_index < 0 ? task.task_id : `${task.task_id} [${task.map_index}]`;
}
