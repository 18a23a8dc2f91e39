import { expect, test } from "vitest";
import { queryText } from "../../api/lists";
import { activeFilters, clearedFilters, filterQuery, nextSort, sorts } from "./filters";

test("the address is the filter: lists repeat, the sort changes no count", () => {
  const query = new URLSearchParams("status=failed&status=running&q=sales&sort=-last_run&other=1");
  expect(filterQuery(query)).toMatchObject({ status: ["failed", "running"], q: "sales" });
  expect(filterQuery(query)).not.toHaveProperty("sort");
  expect(activeFilters(query)).toBe(2);
});

test("a column sorts in its own direction first, then in the other", () => {
  expect(nextSort("name", "last_run", true)).toBe("-last_run");
  expect(nextSort("-last_run", "last_run", true)).toBe("last_run");
  expect(nextSort("name", "name", false)).toBe("-name");
  expect(nextSort("-name", "name", false)).toBe(null);
  expect(nextSort("-last_run", "name", false)).toBe(null);
});

test("what is not paused, removed or of a provider is asked for, counted and cleared", () => {
  const text = "provider=airflow&is_paused=false&is_active=false";
  const query = new URLSearchParams(text);
  expect(queryText(filterQuery(query))).toBe(text);
  expect(activeFilters(query)).toBe(3);
  expect(Object.keys(clearedFilters)).toEqual(expect.arrayContaining([...query.keys()]));
});

test("every order of the API is offered in both directions", () => {
  const offered = sorts.map(([value]) => value || "name");
  for (const sort of ["name", "last_run", "failed_count", "success_rate", "avg_duration"])
    expect(offered).toEqual(expect.arrayContaining([sort, `-${sort}`]));
});
