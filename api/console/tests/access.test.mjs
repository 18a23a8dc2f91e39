// Who may do what, and what the pages say when that ends, or when the API is away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, base, call, keys, launch, openPage, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("a viewer is offered no change, and is refused when one is tried", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/pipelines`);
  await page.locator("[data-row]").first().waitFor();
  assert.equal(await page.getByRole("checkbox", { name: /^Select/ }).count(), 0);
  await visit(page, `/s/${space}/connectors/new`);
  await page.getByText("Your role does not allow this").waitFor();
  await visit(page, `/s/${space}/audit`);
  await page.getByText("Your role does not allow this").waitFor();
  const pipeline = (await ask(page, `${base}/pipelines?size=1`)).body[0];
  const init = { method: "PATCH", headers: { "content-type": "application/json" }, body: '{"team_id":null}' };
  assert.equal((await ask(page, `${base}/pipelines/${pipeline.id}/team`, init)).status, 403);
  await context.close();
});

test("who is removed from a space while looking sees nothing of it any more, and is told so", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.leaver);
  await visit(page, `/s/${space}/pipelines`);
  await page.locator("[data-row]").first().waitFor();
  const { user } = await call(keys.leaver, "GET", "/api/v1.0/me");
  await call(keys.admin, "DELETE", `/api/v1.0/spaces/${space}/members/${user.id}`);
  await page.getByText("your access was withdrawn").waitFor({ timeout: 20_000 });
  assert.equal(await page.locator("[data-row]").count(), 0);
  await call(keys.admin, "PUT", `/api/v1.0/spaces/${space}/members/${user.id}`, { role: "viewer" });
  await context.close();
});

test("while the API is away the page keeps what it shows, says so, and comes back by itself", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/pipelines`);
  await page.locator("[data-row]").first().waitFor();
  await context.setOffline(true);
  await page
    .getByRole("group", { name: "Status" })
    .getByRole("button", { name: /Failed/ })
    .click();
  await page.getByText("The API does not answer.").waitFor();
  await context.setOffline(false);
  await page.getByText("The API does not answer.").waitFor({ state: "detached", timeout: 20_000 });
  await page.waitForFunction(() => document.querySelectorAll("[data-row]").length === 1);
  await context.close();
});

test("a space without pipelines says what to do next", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.admin);
  await visit(page, "/s/empty/pipelines");
  await page.getByText("This space has no pipelines yet").waitFor();
  await page.getByRole("link", { name: "Go to the connectors" }).click();
  await page.getByRole("link", { name: "Create the first connector" }).waitFor();
  await visit(page, "/s/empty/runs");
  await page.getByText("This space has no runs yet").waitFor();
  await visit(page, "/s/empty");
  await page.getByText("This space has no connector yet").waitFor();
  await page.getByRole("link", { name: "Create the first connector" }).waitFor();
  await page.getByText("No pipeline is failing").waitFor();
  await visit(page, "/s/empty/incidents");
  await page.getByText("Every pipeline and connector of this space is as expected.").waitFor();
  await visit(page, "/s/empty/people");
  await page.getByText("This space has no teams yet").waitFor();
  await visit(page, "/s/elsewhere/pipelines");
  await page.getByText("You have no access to this space").waitFor();
  await context.close();
});
