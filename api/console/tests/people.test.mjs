// Members, roles and teams, and the audit log that has what was done with them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, keys, launch, openPage, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("an admin makes a team, fills it, renames and deletes it", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.admin);
  await visit(page, `/s/${space}/people`);
  const teams = page.getByRole("region", { name: "Teams" });
  const dialog = page.getByRole("dialog");
  await teams.getByRole("button", { name: "New team" }).click();
  await dialog.getByLabel("Name", { exact: true }).fill("Data platform");
  await dialog.getByRole("button", { name: "Create" }).click();
  // The API refuses a name that is taken, and the dialog stays.
  await dialog.locator(".field-fault").waitFor();
  await dialog.getByLabel("Name", { exact: true }).fill("Night shift");
  await dialog.getByRole("button", { name: "Create" }).click();
  await dialog.waitFor({ state: "detached" });
  await teams.getByRole("button", { name: "Members of Night shift" }).click();
  await dialog.getByLabel("Member to add").selectOption({ label: "Victor Viewer" });
  await dialog.getByRole("button", { name: "Add" }).click();
  await dialog.getByRole("button", { name: "Make manager" }).click();
  await dialog.getByText("Manager", { exact: true }).waitFor();
  await dialog.getByRole("button", { name: "Close" }).click();
  await teams
    .getByRole("row", { name: /Night shift/ })
    .getByText("Victor Viewer")
    .waitFor();
  await teams.getByRole("button", { name: "Change Night shift" }).click();
  await dialog.getByLabel("Name", { exact: true }).fill("Late shift");
  await dialog.getByRole("button", { name: "Save" }).click();
  await teams.getByRole("button", { name: "Delete Late shift" }).click();
  await dialog.getByRole("button", { name: "Delete", exact: true }).click();
  await teams.getByText("Late shift").waitFor({ state: "detached" });
  assert.deepEqual(faults, []);
  await context.close();
});

test("an admin changes roles, adds and removes a member, and reads of it in the audit log", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.admin);
  await visit(page, `/s/${space}/people`);
  const members = page.getByRole("region", { name: "Members" });
  const role = (name) => members.getByRole("combobox", { name: `Role of ${name}` });
  await role("Lena Leaver").selectOption("editor");
  await page.getByText("Lena Leaver is an editor now").waitFor();
  await role("Lena Leaver").selectOption("viewer");
  await page.getByText("Lena Leaver is a viewer now").waitFor();
  // The last admin stays one, and the page shows it.
  await role("Ada Admin").selectOption("viewer");
  await page.locator('.toast[data-tone="danger"]').waitFor();
  await page.waitForFunction(
    () => document.querySelector('select[aria-label="Role of Ada Admin"]')?.value === "admin",
  );
  const all = (await ask(page, `/api/v1.0/spaces/${space}/members`)).body;
  assert.equal(all.find(({ user }) => user.name === "Ada Admin").role, "admin");

  await visit(page, "/s/empty/people");
  const dialog = page.getByRole("dialog");
  await page.getByRole("button", { name: "Add a member" }).click();
  await dialog.getByLabel("Name or e-mail address").fill("victor@demo.example");
  await dialog.getByRole("radio", { name: /Victor Viewer/ }).check();
  await dialog.getByRole("button", { name: "Add" }).click();
  await members.getByRole("button", { name: "Remove Victor Viewer" }).click();
  await dialog.getByRole("button", { name: "Remove", exact: true }).click();
  await page.getByText("Victor Viewer is no longer a member").waitFor();

  await visit(page, `/s/${space}/audit`);
  await page.getByRole("combobox", { name: "Action" }).selectOption("user.role_changed");
  await page.waitForURL(/action=user.role_changed/);
  const entry = page.getByRole("row", { name: /Ada Admin/ }).filter({ hasText: "Changed a member's role" });
  await entry.first().getByText("API").waitFor();
  await entry.filter({ hasText: "role: Lena Leaver" }).first().waitFor();
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".audit tbody tr")].every((row) => /member's role/.test(row.textContent)),
  );
  assert.deepEqual(faults, []);
  await context.close();
});
