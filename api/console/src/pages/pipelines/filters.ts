// The filters of the list of pipelines, as the address holds them.
import type { FacetName } from "../../api/model";
import type { QueryValue } from "../../api/lists";

/** Each facet, and the parameter that filters by it. */
export const facetParams: Record<FacetName, string> = {
  status: "status",
  health: "health",
  team: "team_id",
  owner: "owner",
  tag: "tag",
  criticality: "criticality",
  connector: "connector_id",
};

export const facetLabels: Record<FacetName, string> = {
  status: "Status",
  health: "Health",
  team: "Team",
  owner: "Owner",
  tag: "Tag",
  criticality: "Criticality",
  connector: "Connector",
};

export const dayChoices = ["7", "30", "90", "365"];
export const DEFAULT_DAYS = "30";

/** The providers there are: a choice only once there is a second one. */
export const providers = ["airflow"];

export const pausedChoices: [value: string, text: string][] = [
  ["", "Paused or not"],
  ["true", "Paused"],
  ["false", "Not paused"],
];

export const removedChoices: [value: string, text: string][] = [
  ["", "Not removed"],
  ["any", "Include removed"],
  ["false", "Removed only"],
];

export const sorts: [value: string, text: string][] = [
  ["", "By name"],
  ["-name", "By name, Z first"],
  ["-last_run", "Last run first"],
  ["last_run", "Longest without a run"],
  ["-failed_count", "Most failed runs"],
  ["failed_count", "Fewest failed runs"],
  ["success_rate", "Lowest success rate"],
  ["-success_rate", "Highest success rate"],
  ["-avg_duration", "Longest on average"],
  ["avg_duration", "Shortest on average"],
];

const SINGLE = ["q", "provider", "watched_only", "is_paused", "is_active"];
const LISTS = Object.values(facetParams);

/** The parameters that select pipelines: without the sort, which changes no count. */
export function filterQuery(query: URLSearchParams): Record<string, QueryValue> {
  const filter: Record<string, QueryValue> = {};
  for (const name of [...SINGLE, "days"]) filter[name] = query.get(name);
  for (const name of LISTS) filter[name] = query.getAll(name);
  return filter;
}

export function activeFilters(query: URLSearchParams): number {
  const lists = LISTS.filter((name) => query.has(name)).length;
  return lists + SINGLE.filter((name) => query.has(name)).length;
}

export const clearedFilters: Record<string, null> = Object.fromEntries(
  [...LISTS, ...SINGLE].map((name) => [name, null]),
);

/** Sorting by a column again turns the direction. By name is how a list is sorted without a word: null. */
export function nextSort(current: string, column: string, firstDescends: boolean): string | null {
  const descends = current === column || (firstDescends && current !== `-${column}`);
  if (column === "name" && !descends) return null;
  return descends ? `-${column}` : column;
}

export function sortDirection(current: string, column: string): "ascending" | "descending" | undefined {
  if (current === column) return "ascending";
  return current === `-${column}` ? "descending" : undefined;
}
