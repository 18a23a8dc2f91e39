import { expect, test } from "vitest";
import type { Connector } from "../api/model";
import { worstFirst } from "./connectors";

const NOW = Date.parse("2026-01-02T12:00:00Z");

function connector(name: string, change: Partial<Connector> = {}): Connector {
  return {
    name,
    is_active: true,
    failures: 0,
    created_at: "2026-01-01T00:00:00Z",
    last_success_at: "2026-01-02T11:59:00Z",
    next_due_at: "2026-01-02T12:01:00Z",
    config: { schedule: "* * * * *" },
    ...change,
  } as Connector;
}

test("connectors with something wrong stand before those that read and those that are switched off", () => {
  const sorted = worstFirst(
    [
      connector("a reads"),
      connector("b is off", { is_active: false, failures: 3 }),
      connector("c is behind", { next_due_at: "2026-01-02T11:00:00Z" }),
      connector("d fails", { failures: 1 }),
      connector("e reads"),
    ],
    NOW,
  );
  expect(sorted.map(({ name }) => name)).toEqual([
    "d fails",
    "c is behind",
    "a reads",
    "e reads",
    "b is off",
  ]);
});
