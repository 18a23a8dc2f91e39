import { expect, test } from "vitest";
import { hiddenFault, hiddenPlaces } from "./hidden";

test("hidden values are found at any depth", () => {
  const conf = {
    password: "***",
    db: { user: "a", password: "***" },
    keys: [{ token: "***" }],
    stars: "****",
  };
  expect(hiddenPlaces(conf)).toEqual(["password", "db.password", "keys[0].token"]);
  expect(hiddenPlaces({ a: null, b: 1, c: [] })).toEqual([]);
});

test("the reader is told which values are missing", () => {
  expect(hiddenFault(["password"])).toContain("password. Enter it");
  expect(hiddenFault(["a", "b.c"])).toContain("a, b.c. Enter them");
});
