import { expect, test } from "vitest";
import type { Channel, Rule } from "../../api/model";
import { conditionTexts, targetText } from "./words";

const names = { team: () => "Finance", pipeline: () => "daily_sales" };
const unconditional: Rule = {
  id: "1",
  channel_id: "2",
  is_active: true,
  kinds: [],
  min_criticality: null,
  team_id: null,
  tag: null,
  pipeline_id: null,
  created_at: "2026-01-01T00:00:00Z",
  updated_at: "2026-01-01T00:00:00Z",
};

test("a rule is read as its conditions", () => {
  expect(conditionTexts(unconditional, names)).toEqual([]);
  const rule: Rule = {
    ...unconditional,
    kinds: ["failing", "late_finish"],
    min_criticality: "high",
    team_id: "3",
    tag: "finance",
    pipeline_id: "4",
  };
  expect(conditionTexts(rule, names)).toEqual([
    "Failing or Late end",
    "High or more critical",
    "Team Finance",
    "Tag finance",
    "Pipeline daily_sales",
  ]);
  expect(conditionTexts({ ...unconditional, min_criticality: "critical" }, names)).toEqual(["Critical"]);
});

test("of a secret address only the host is known", () => {
  const channel = (part: Partial<Channel>) => ({ config: {}, ...part }) as Channel;
  expect(targetText(channel({ type: "slack", config: { host: "hooks.slack.example" } }))).toBe(
    "hooks.slack.example",
  );
  expect(targetText(channel({ type: "email", config: { to: ["a@x.example", "b@x.example"] } }))).toBe(
    "a@x.example, b@x.example",
  );
  expect(targetText(channel({ type: "teams", config: { host: null } }))).toBe("");
});
