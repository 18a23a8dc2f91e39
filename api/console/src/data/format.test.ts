import { expect, test } from "vitest";
import { counted, duration, elapsed, percent, relative, second, totalText, utc, zoned } from "./format";

test.each([
  [null, "–"],
  [0, "0.0 s"],
  [0.44, "0.4 s"],
  [9.94, "9.9 s"],
  [9.96, "10 s"],
  [59.4, "59 s"],
  [59.6, "1 min 00 s"],
  [185, "3 min 05 s"],
  [3599.6, "1 h 00 min"],
  [7620, "2 h 07 min"],
  [86_399.7, "1 d 00 h"],
  [356_400, "4 d 03 h"],
  [-3, "0 s"],
])("%s seconds are %s", (seconds, text) => expect(duration(seconds)).toBe(text));

test.each([
  [null, "–"],
  [1, "100 %"],
  [0.9996, "99.9 %"],
  [0.991, "99.1 %"],
  [0.5, "50 %"],
  [0, "0 %"],
])("the rate %s is %s", (rate, text) => expect(percent(rate)).toBe(text));

test("a number has the noun that fits it", () => {
  expect(counted(0, "run", "runs")).toBe("0 runs");
  expect(counted(1, "run", "runs")).toBe("1 run");
  expect(counted(2, "run", "runs")).toBe("2 runs");
});

test("a list whose read failed is not being counted", () => {
  expect(totalText({ total: null, failure: null }, "run", "runs")).toBe("Counting…");
  expect(totalText({ total: null, failure: new Error() }, "run", "runs")).toBe("");
  expect(totalText({ total: 1, failure: null }, "run", "runs")).toBe("1 run");
});

test("distances from now have a direction and one unit", () => {
  const now = Date.parse("2026-01-01T12:00:00Z");
  expect(relative("2026-01-01T11:59:55Z", now)).toBe("just now");
  expect(relative("2026-01-01T12:00:05Z", now)).toBe("in a moment");
  expect(relative("2026-01-01T11:56:00Z", now)).toBe("4 min ago");
  expect(relative("2026-01-01T14:00:00Z", now)).toBe("in 2 h");
  expect(relative("2025-12-20T12:00:00Z", now)).toBe("12 d ago");
});

test("a duration is open until its end", () => {
  const now = Date.parse("2026-01-01T00:01:00Z");
  expect(elapsed("2026-01-01T00:00:00Z", null, now)).toBe(60);
  expect(elapsed("2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z", now)).toBe(5);
  expect(elapsed(null, null, now)).toBeNull();
  expect(elapsed("2026-01-01T00:02:00Z", null, now)).toBe(0);
});

test("a time may have its zone", () => {
  const at = "2026-01-01T05:00:01Z";
  expect(zoned(at)).toMatch(/ \S+$/);
  expect(zoned(at).startsWith(second(at))).toBe(true);
  expect(zoned(at)).not.toBe(second(at));
});

test("UTC is written without fractions", () =>
  expect(utc("2026-01-01T05:00:01.5Z")).toBe("2026-01-01 05:00:01 UTC"));
