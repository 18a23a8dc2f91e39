import { expect, test } from "vitest";
import type { Connector, Incident } from "../../api/model";
import { isMuted, kinds, kindTexts, stateOfKind, statuses, subjectOf } from "./words";

test("every kind and status has words, and every kind a shape", () => {
  expect(kinds.map((kind) => kindTexts[kind]).every(Boolean)).toBe(true);
  expect(statuses).toEqual(["open", "acknowledged", "resolved"]);
  expect(new Set(kinds.map(stateOfKind)).size).toBe(4);
});

test("an incident of a connector has the connector's name once that is known", () => {
  const incident = { connector_id: "1", pipeline_name: null, muted_until: null } as Incident;
  expect(subjectOf(incident, undefined)).toBe("a connector");
  expect(subjectOf(incident, [{ id: "1", name: "prod airflow" } as Connector])).toBe("prod airflow");
  expect(subjectOf({ ...incident, pipeline_name: "sales" }, [])).toBe("sales");
});

test("an incident is muted until its time has come", () => {
  const incident = { muted_until: "2026-01-01T00:00:00Z" } as Incident;
  const until = Date.parse("2026-01-01T00:00:00Z");
  expect([isMuted(incident, until - 1), isMuted(incident, until)]).toEqual([true, false]);
  expect(isMuted({ ...incident, muted_until: null }, until)).toBe(false);
});
