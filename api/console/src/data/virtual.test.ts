import { expect, test } from "vitest";
import { windowOf } from "./virtual";

test("only rows in view and a few around them are shown", () => {
  expect(windowOf(100, 900, 50, 10_000)).toEqual({ first: 0, end: 22 });
  const middle = windowOf(-250_000, 900, 50, 10_000);
  expect(middle).toEqual({ first: 4994, end: 5024 });
  expect(windowOf(-500_000, 900, 50, 10_000).end).toBe(10_000);
});

test("a list that became shorter than the place scrolled to is empty, not negative", () => {
  expect(windowOf(-5000, 900, 50, 3)).toEqual({ first: 3, end: 3 });
});
