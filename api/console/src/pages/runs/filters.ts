// The filters of the runs of a space, as the address holds them.
import type { QueryValue } from "../../api/lists";

type Bound = "started_from" | "ended_from";

/** Each period with what must lie in it: the start of a run, or its end. */
export const periods: [value: string, label: string, bound: Bound, hours: number][] = [
  ["1h", "Started in the last hour", "started_from", 1],
  ["24h", "Started in the last 24 hours", "started_from", 24],
  ["7d", "Started in the last 7 days", "started_from", 168],
  ["30d", "Started in the last 30 days", "started_from", 720],
  ["ended-1h", "Ended in the last hour", "ended_from", 1],
  ["ended-24h", "Ended in the last 24 hours", "ended_from", 24],
];

export const runStatuses = ["failed", "running", "queued", "success", "unknown"];
export const sorts: [value: string, label: string][] = [
  ["", "Newest first"],
  ["-ended_at", "Last ended first"],
  ["-duration_seconds", "Longest first"],
  ["started_at", "Oldest first"],
];

const LISTS = ["status", "run_type", "team_id", "owner", "criticality", "tag", "connector_id", "pipeline_id"];
const SINGLE = ["q", "run_id", "sort", "watched_only", "started_from", "started_to"];

/** The parameters of a read. A period counts back from the given time, to the minute. */
export function runsQuery(query: URLSearchParams, now: number): Record<string, QueryValue> {
  const read: Record<string, QueryValue> = { is_active: "any" };
  for (const name of SINGLE) read[name] = query.get(name);
  for (const name of LISTS) read[name] = query.getAll(name);
  const period = periods.find(([value]) => value === query.get("last"));
  if (period) {
    const [, , bound, hours] = period;
    const from = Math.floor(now / 60_000) * 60_000 - hours * 3_600_000;
    read[bound] = new Date(from).toISOString().replace(".000Z", "Z");
  }
  return read;
}

export const clearedFilters: Record<string, null> = Object.fromEntries(
  [...LISTS, ...SINGLE, "last"].filter((name) => name !== "sort").map((name) => [name, null]),
);

export function isFiltered(query: URLSearchParams): boolean {
  return Object.keys(clearedFilters).some((name) => query.has(name));
}
