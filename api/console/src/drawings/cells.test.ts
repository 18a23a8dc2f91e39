import { expect, test } from "vitest";
import { cellCounts, cellState, parseCells, parseCounts } from "./cells";
import { countsText } from "./counts";

test("reads a letter per task run, counts of mapped ones, and nothing where a run lacks the task", () => {
  const cells = parseCells("s,f,\nu,,18s2f\n", 2, 3);
  expect([0, 1, 2].map((column) => cellState(cells, 0, column))).toEqual(["success", "failed", null]);
  expect([0, 1, 2].map((column) => cellState(cells, 1, column))).toEqual(["upstream_failed", null, "failed"]);
  expect(countsText(cellCounts(cells, 1, 2))).toBe("2 failed, 18 success");
  expect(cellCounts(cells, 0, 0)).toEqual([{ state: "success", count: 1 }]);
  expect(cellCounts(cells, 0, 2)).toEqual([]);
});

test("reads every letter of the contract", () => {
  const cells = parseCells("p,c,q,r,s,f,t,k,u,d,x,n", 1, 12);
  expect(Array.from({ length: 12 }, (_, column) => cellState(cells, 0, column))).toEqual([
    "pending",
    "scheduled",
    "queued",
    "running",
    "success",
    "failed",
    "retrying",
    "skipped",
    "upstream_failed",
    "deferred",
    "removed",
    "unknown",
  ]);
});

test("a letter of a later release is unknown, and short answers leave cells empty", () => {
  const cells = parseCells("z", 2, 2);
  expect(cellState(cells, 0, 0)).toBe("unknown");
  expect(cellState(cells, 1, 1)).toBeNull();
  expect(parseCounts("3z")).toEqual([{ state: "unknown", count: 3 }]);
});

test("columns can be turned round, so that the newest run is at the right", () => {
  const cells = parseCells("r,s,2f", 1, 3, "oldest first");
  expect([0, 1, 2].map((column) => cellState(cells, 0, column))).toEqual(["failed", "success", "running"]);
  expect(cells.counts.has(0)).toBe(true);
});

test("counts with one instance are counts still", () => {
  const cells = parseCells("1s", 1, 1);
  expect(cells.counts.has(0)).toBe(true);
});
