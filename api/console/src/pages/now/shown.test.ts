import { expect, test } from "vitest";
import { queryText } from "../../api/lists";
import { addressOf, queryOf } from "./shown";

const NOW = Date.parse("2026-01-02T12:00:30Z");

test("a number is read with the filters of the list that it leads to", () => {
  expect(addressOf("failedDay", "sales")).toBe("/s/sales/runs?status=failed&last=ended-24h");
  expect(queryText(queryOf("failedDay", NOW))).toBe(
    "is_active=any&status=failed&ended_from=2026-01-01T12%3A00%3A00Z",
  );
  expect(addressOf("late", "sales")).toBe("/s/sales/incidents?kind=late_start&kind=late_finish&kind=slow");
  expect(queryText(queryOf("late", NOW))).toBe(
    "status=open&status=acknowledged&kind=late_start&kind=late_finish&kind=slow",
  );
});

test("a pipeline is failing until a run succeeds, whatever its latest run does meanwhile", () => {
  expect(queryText(queryOf("failing", NOW))).toBe("health=failing&sort=-last_run");
});
