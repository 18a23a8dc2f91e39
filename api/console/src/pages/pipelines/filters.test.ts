import { expect, test } from "vitest";
import { activeFilters, filterQuery, nextSort } from "./filters";

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
});
