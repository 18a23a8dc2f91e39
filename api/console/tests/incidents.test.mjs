// What is wrong in the space, and who takes care of it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, base, call, launch, keys, openPage, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("an editor acknowledges an incident and mutes it", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/incidents`);
  const row = page.getByRole("row", { name: /stock_check/ }).first();
  await row.waitFor({ timeout: 120_000 });
  await row.getByRole("button", { name: "Acknowledge" }).click();
  const status = row.locator("td.col-state");
  await status.getByText("by Edith Editor").waitFor();
  await row.getByRole("button", { name: /^Mute the incident/ }).click();
  await row.getByRole("button", { name: "For an hour" }).click();
  await status.getByText("Muted until").waitFor();
  const [incident] = (await ask(page, `${base}/incidents?kind=failing&status=acknowledged`)).body;
  assert.equal(incident.pipeline_name, "stock_check");
  assert.ok(new Date(incident.muted_until) > new Date());
  // What it was opened for, with a link to the run that began it.
  await row.getByText("Why", { exact: true }).click();
  await row.getByText("Failures in a row").waitFor();
  const first = await row.getByRole("link", { name: "Open the run" }).getAttribute("href");
  assert.match(first, new RegExp(`^/s/${space}/runs/[0-9a-f-]{36}$`));
  await row.getByRole("link", { name: "Details and comments" }).click();
  await page.getByRole("heading", { name: "Failing: stock_check", level: 1 }).waitFor();
  const text = "The supplier was told.";
  await page.getByRole("textbox", { name: "New comment" }).fill(text);
  await page.getByRole("button", { name: "Comment", exact: true }).click();
  await page.getByText(text).waitFor();
  // What another person writes meanwhile appears without a reload.
  const answer = "It arrives tomorrow.";
  await call(keys.admin, "POST", `${base}/incidents/${incident.id}/comments`, { content: answer });
  await page.getByText(answer).waitFor({ timeout: 15_000 });
  const comments = (await ask(page, `${base}/incidents/${incident.id}/comments`)).body;
  assert.deepEqual(
    comments.map((one) => one.content),
    [text, answer],
  );
  await page.getByRole("main").getByRole("link", { name: "stock_check" }).click();
  await page.getByRole("heading", { name: "stock_check", level: 1 }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("a viewer reads incidents and an inbox, and is offered no action", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/incidents`);
  await page
    .getByRole("row", { name: /stock_check/ })
    .first()
    .waitFor({ timeout: 120_000 });
  assert.equal(await page.getByRole("button", { name: /^Mute/ }).count(), 0);
  await visit(page, "/inbox");
  await page.getByText("Your inbox is empty").waitFor();
  await context.close();
});
