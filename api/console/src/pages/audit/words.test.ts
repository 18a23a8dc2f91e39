import { expect, test } from "vitest";
import { exact } from "../../data/format";
import { actionText, detailsText } from "./words";

test("an action of a later release is shown by its name", () => {
  expect(actionText("team.member_added")).toBe("Team: member added");
  expect(actionText("pipeline.triggered")).toBe("Triggered a run");
});

test("ids are left out of the details", () => {
  const id = "01a20af6-3d8b-7040-9243-a2befb1da7f1";
  expect(detailsText({ from: null, to: "high", team_id: id, changed: ["name", "config"] })).toBe(
    "from: none · to: high · changed: name, config",
  );
  expect(detailsText({ ids: [id, id] })).toBe("ids: 2");
  expect(detailsText({ is_active: true, tag: null, read_only: false })).toBe(
    "is active: yes · read only: no",
  );
  const until = "2026-01-31T05:00:00.123Z";
  expect(detailsText({ until })).toBe(`until: ${exact(until)}`);
});
