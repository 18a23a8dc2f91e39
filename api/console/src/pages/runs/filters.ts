// The filters of the runs of a space, as the address holds them.
import type { QueryValue } from "../../api/lists";

export const periods: [value: string, label: string, hours: number][] = [
  ["1h", "Last hour", 1],
  ["24h", "Last 24 hours", 24],
  ["7d", "Last 7 days", 168],
  ["30d", "Last 30 days", 720],
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
  const hours = periods.find(([value]) => value === query.get("last"))?.[2];
  if (hours) {
    const from = Math.floor(now / 60_000) * 60_000 - hours * 3_600_000;
    read.started_from = new Date(from).toISOString().replace(".000Z", "Z");
  }
  return read;
}

export const clearedFilters: Record<string, null> = Object.fromEntries(
  [...LISTS, ...SINGLE, "last"].filter((name) => name !== "sort").map((name) => [name, null]),
);

export function isFiltered(query: URLSearchParams): boolean {
  return Object.keys(clearedFilters).some((name) => query.has(name));
}
