import { expect, test } from "vitest";
import { expectedSentence, isOverdue } from "./expected";

const expected = { duration_seconds: 60, slow_after_seconds: 120, finish_by: "2026-01-01T05:10:00Z" };
const text = "Comparable runs take 1 min 00 s; one is slow after 2 min 00 s";

test("a run is slow only beyond the limit of its signals", () => {
  expect(expectedSentence(expected, null, false)).toBe(`${text}.`);
  expect(expectedSentence(expected, 120, true)).toBe(`${text}.`);
  expect(expectedSentence(expected, 121, true)).toBe(`${text}: this run is slow already.`);
  expect(expectedSentence(expected, 121, false)).toBe(`${text}: this run was slow.`);
});

test("a run is overdue when it ends later than expected, or has not ended by then", () => {
  const now = Date.parse("2026-01-01T05:10:01Z");
  expect(isOverdue(expected, null, now)).toBe(true);
  expect(isOverdue(expected, "2026-01-01T05:09:59Z", now)).toBe(false);
  expect(isOverdue(expected, "2026-01-01T05:12:00Z", now)).toBe(true);
  expect(isOverdue({ ...expected, finish_by: null }, null, now)).toBe(false);
});
