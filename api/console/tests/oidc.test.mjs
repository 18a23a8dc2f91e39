// Signing in with the company's account, at a provider of the test's own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, call, keys, launch, openPage, space, url, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const members = `/api/v1.0/spaces/${space}/members`;
const mappings = `/api/v1.0/spaces/${space}/group-mappings`;

async function continueAs(page, name) {
  await page.getByRole("link", { name: "Continue with the test's accounts" }).click();
  await page.getByRole("button", { name, exact: true }).click();
}

test("a person signs in with a company account, gets the role of a group, and signs out", async () => {
  const mapping = await call(keys.admin, "POST", mappings, { group: "analysts", role: "viewer" });
  const { page, context } = await openPage(browser);
  await page.goto(`${url}/s/${space}/pipelines?q=sales`);
  await continueAs(page, "Victor Viewer");
  // The page that was asked for.
  await page.getByRole("heading", { name: "Pipelines", level: 1 }).waitFor();
  assert.ok(page.url().endsWith(`/s/${space}/pipelines?q=sales`), page.url());
  const me = (await ask(page, "/api/v1.0/me")).body;
  assert.equal(me.spaces.find((one) => one.slug === space).role, "viewer");
  await visit(page, "/account");
  await page.getByText("Company account").waitFor();
  await page.getByRole("button", { name: "Sign out" }).first().click();
  // The session has ended already; the provider asks about its own.
  await page.getByRole("heading", { name: "Sign out here, too?" }).waitFor();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByLabel("API key", { exact: true }).waitFor();
  assert.equal(new URL(page.url()).origin, new URL(url).origin);
  assert.equal((await ask(page, "/api/v1.0/me")).status, 401);
  // The provider does not know the browser any more.
  await page.getByRole("link", { name: "Continue with the test's accounts" }).click();
  await page.getByRole("button", { name: "Victor Viewer", exact: true }).waitFor();
  await call(keys.admin, "DELETE", `${mappings}/${mapping.id}`);
  await context.close();
});

test("an admin finds a person by address, adds them, and they see the space", async () => {
  const { page: theirs, context: of } = await openPage(browser);
  await theirs.goto(`${url}/sign-in`);
  await continueAs(theirs, "Nora New");
  await theirs.getByText("You are a member of no space yet").waitFor();

  const { page, context } = await openPage(browser);
  await page.goto(`${url}/sign-in`);
  await page.getByLabel("API key").fill(keys.admin);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.locator('nav[aria-label="Space"]').waitFor({ state: "attached" });
  await visit(page, `/s/${space}/people`);
  await page.getByRole("button", { name: "Add a member" }).click();
  const dialog = page.getByRole("dialog", { name: "Add a member" });
  await dialog.getByLabel("Name or e-mail address").fill("nora@demo.example");
  await dialog.getByRole("radio", { name: /Nora New/ }).check();
  await dialog.getByRole("button", { name: "Add", exact: true }).click();
  await page.getByRole("row", { name: /Nora New/ }).waitFor();
  await visit(theirs, `/s/${space}/pipelines`);
  await theirs.locator("[data-row]").first().waitFor();
  const { user } = (await ask(theirs, "/api/v1.0/me")).body;
  await call(keys.admin, "DELETE", `${members}/${user.id}`);
  await theirs.getByText("your access was withdrawn").waitFor({ timeout: 20_000 });
  await of.close();
  await context.close();
});

test("who is refused at the provider reads why", async () => {
  const { page, context } = await openPage(browser);
  await page.goto(`${url}/sign-in`);
  await continueAs(page, "Nobody");
  await page.getByText("has not signed you in").waitFor();
  await page.goto(`${url}/api/v1.0/session/oidc/callback?code=x&state=y`);
  await page.getByText("This sign-in took too long, or began in another browser").waitFor();
  await context.close();
});
