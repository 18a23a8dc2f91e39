// What an incident was opened for, as facts in words.
import type { Incident } from "../../api/model";
import { scheduleText } from "../../data/connectors";
import { count, counted, duration } from "../../data/format";

export interface Fact {
  label: string;
  text?: string;
  at?: string;
  /** The run, and its task run, that the text links to. */
  run?: string;
  taskRun?: string;
}

export function factsOf({ kind, evidence, last_run_id }: Incident): Fact[] {
  if (kind === "failing") return [...failures(evidence), ...failedTasks(evidence, last_run_id)];
  if (kind === "connector_stale") return staleness(evidence);
  return lateness(kind, evidence);
}

type Evidence = Incident["evidence"];

function failures({ failures: times, first_failed_at, first_failed_run_id }: Evidence): Fact[] {
  return [
    ...(times === undefined ? [] : [{ label: "Failures in a row", text: count(times) }]),
    ...moment("First failure", first_failed_at),
    ...(first_failed_run_id
      ? [{ label: "First failed run", text: "Open the run", run: first_failed_run_id }]
      : []),
  ];
}

/** The tasks of the latest run. */
function failedTasks(evidence: Evidence, run: string | null): Fact[] {
  const { first_failed_task: first, failed_tasks: failed, upstream_failed_tasks: others } = evidence;
  if (!first || run === null) return [];
  const text = first.map_index >= 0 ? `${first.task_id} [${first.map_index}]` : first.task_id;
  const facts: Fact[] = [{ label: "First failed task", text, run, taskRun: first.task_run_id }];
  if (failed !== undefined && failed > 1) facts.push({ label: "Failed tasks", text: count(failed) });
  if (others !== undefined && others > 0) facts.push({ label: "Upstream failed", text: count(others) });
  return facts;
}

function staleness({ last_good_at, stale_at, schedule }: Evidence): Fact[] {
  return [
    ...moment("Last synced", last_good_at),
    ...moment("Overdue since", stale_at),
    ...(schedule ? [{ label: "Schedule", text: scheduleText(schedule) }] : []),
  ];
}

const elapsedLabels: Partial<Record<Incident["kind"], string>> = {
  slow: "Had been running for",
  late_start: "Not started after",
  late_finish: "Not ended after",
};

function lateness(kind: Incident["kind"], evidence: Evidence): Fact[] {
  return [
    ...moment("Due", evidence.due_at),
    ...moment("Started", evidence.started_at),
    ...seconds(elapsedLabels[kind] ?? "After", evidence.elapsed_seconds),
    ...seconds("Too long after", evidence.limit_seconds),
    ...seconds("Usual duration", evidence.duration_p50_seconds),
    ...seconds("95 % end within", evidence.duration_p95_seconds),
    ...compared(evidence),
    ...moment("Seen", evidence.seen_at),
  ];
}

const classTexts: Record<string, string> = {
  hour_of_week: "of the same hour of the week",
  day_kind_hour: "of the same hour, on the same kind of day",
  day_kind: "of the same kind of day",
  all: "of the last 42 days",
};

function compared({ runs, class: name }: Evidence): Fact[] {
  if (runs === undefined || name === undefined) return [];
  return [
    { label: "Compared with", text: `${counted(runs, "run", "runs")} ${classTexts[name] ?? ""}`.trim() },
  ];
}

function moment(label: string, at: string | null | undefined): Fact[] {
  return at ? [{ label, at }] : [];
}

function seconds(label: string, value: number | null | undefined): Fact[] {
  return value === null || value === undefined ? [] : [{ label, text: duration(value) }];
}
