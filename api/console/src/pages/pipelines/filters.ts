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

const PASSED = ["q", "watched_only", "is_paused", "is_active", "days"];
const LISTS = Object.values(facetParams);

/** The parameters that select pipelines: without the sort, which changes no count. */
export function filterQuery(query: URLSearchParams): Record<string, QueryValue> {
  const filter: Record<string, QueryValue> = {};
  for (const name of PASSED) filter[name] = query.get(name);
  for (const name of LISTS) filter[name] = query.getAll(name);
  return filter;
}

export function activeFilters(query: URLSearchParams): number {
  const lists = LISTS.filter((name) => query.has(name)).length;
  return lists + ["q", "watched_only", "is_paused", "is_active"].filter((name) => query.has(name)).length;
}

export const clearedFilters: Record<string, null> = Object.fromEntries(
  [...LISTS, "q", "watched_only", "is_paused", "is_active"].map((name) => [name, null]),
);

/** Sorting by a column again turns the direction. */
export function nextSort(current: string, column: string, firstDescends: boolean): string {
  if (current === column) return `-${column}`;
  if (current === `-${column}`) return column;
  return firstDescends ? `-${column}` : column;
}

export function sortDirection(current: string, column: string): "ascending" | "descending" | undefined {
  if (current === column) return "ascending";
  return current === `-${column}` ? "descending" : undefined;
}
