import { expect, test } from "vitest";
import { kinds, kindTexts, stateOfKind, statuses } from "./words";

test("every kind and status has words, and every kind a shape", () => {
  expect(kinds.map((kind) => kindTexts[kind]).every(Boolean)).toBe(true);
  expect(statuses).toEqual(["open", "acknowledged", "resolved"]);
  expect(new Set(kinds.map(stateOfKind)).size).toBe(4);
});
