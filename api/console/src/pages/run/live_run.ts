// Keeps a run up to date. Events are complete snapshots, so those of its task runs are merged without a
// request.
import { useEffect, useRef } from "preact/hooks";
import type { RunDetail, TaskRun } from "../../api/model";
import { useLiveBatch, useLiveEvents } from "../../data/live";
import type { Resource } from "../../data/resource";

const MERGE_MILLIS = 500;
/** The fields of an event that a task run has, too. */
const FIELDS = [
  "status",
  "provider_status",
  "try_number",
  "max_tries",
  "queued_at",
  "started_at",
  "ended_at",
  "duration_seconds",
  "pool",
  "queue",
  "hostname",
] as const;

interface TaskRunEvent extends Pick<TaskRun, (typeof FIELDS)[number] | "id" | "run_id"> {
  version: number;
  deleted?: boolean;
}

export function useLiveRun(id: string, run: Resource<RunDetail>): void {
  const waiting = useRef(new Map<string, TaskRunEvent>());
  const timer = useRef<number | undefined>(undefined);
  const merge = () => {
    timer.current = undefined;
    const events = waiting.current;
    waiting.current = new Map();
    const known = new Set(run.data?.tasks.map((task) => task.id));
    // What is new or gone changes more than a row: a mapped task was expanded, for instance.
    if ([...events.values()].some((event) => event.deleted || !known.has(event.id))) return run.refresh();
    run.change((before) => ({
      ...before,
      tasks: before.tasks.map((task) => merged(task, events.get(task.id))),
    }));
  };
  const latest = useRef(merge);
  latest.current = merge;
  useLiveEvents((event) => {
    if (event.type !== "task_run" || event.data.run_id !== id) return;
    const data = event.data as unknown as TaskRunEvent;
    if ((waiting.current.get(data.id)?.version ?? 0) > data.version) return;
    waiting.current.set(data.id, data);
    timer.current ??= window.setTimeout(() => latest.current(), MERGE_MILLIS);
  });
  useEffect(() => () => window.clearTimeout(timer.current), []);
  useLiveBatch((event) => (event.type === "run" && event.data.id === id ? id : null), run.refresh);
}

function merged(task: TaskRun, event: TaskRunEvent | undefined): TaskRun {
  if (event === undefined) return task;
  return { ...task, ...Object.fromEntries(FIELDS.map((field) => [field, event[field] ?? null])) } as TaskRun;
}
