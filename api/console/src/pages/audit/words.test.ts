import { expect, test } from "vitest";
import { exact } from "../../data/format";
import { actionText, detailsText } from "./words";

test("an action of a later release is shown by its name", () => {
  expect(actionText("team.member_added")).toBe("Team: member added");
  expect(actionText("pipeline.triggered")).toBe("Triggered a run");
});

const id = "01a20af6-3d8b-7040-9243-a2befb1da7f1";
const nobody = new Map<string, string>();

test("ids are left out of the details, unless they have a name", () => {
  const text = (details: Record<string, unknown>, names = nobody) => detailsText("any", details, names);
  expect(text({ team_id: id, changed: ["name", "config"] })).toBe("Changed: name, config");
  expect(text({ team_id: id }, new Map([[id, "Data platform"]]))).toBe("Team: Data platform");
  expect(text({ ids: [id, id] })).toBe("Ids: 2");
  expect(text({ is_active: true, tag: null, read_only: false })).toBe("Is active: yes · Read only: no");
  const until = "2026-01-31T05:00:00.123Z";
  expect(text({ until })).toBe(`Until: ${exact(until)}`);
});

test("a change says what it was from and to", () => {
  expect(detailsText("user.role_changed", { from: null, to: "viewer" }, nobody)).toBe("Role: none → Viewer");
  const names = new Map([[id, "Lena Leaver"]]);
  expect(detailsText("team.member_changed", { user_id: id, from: "member", to: null }, names)).toBe(
    "Role: Member → none · User: Lena Leaver",
  );
  expect(detailsText("pipeline.team_changed", { from: null, to: id }, nobody)).toBe("");
});

test("words of the API are written as elsewhere, what somebody wrote as it is", () => {
  expect(detailsText("channel.created", { name: "email", type: "email" }, nobody)).toBe(
    "Name: email · Type: E-mail",
  );
  expect(detailsText("space.renamed", { from: "teams", to: "member" }, nobody)).toBe("Name: teams → member");
});
