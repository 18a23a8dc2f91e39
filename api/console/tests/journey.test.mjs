// What people do with the console, on real parts.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, base, call, keys, launch, openPage, signIn, space, url, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("an editor signs in with a key, which no storage of the browser holds", async () => {
  const { page, context, faults } = await openPage(browser);
  await page.goto(`${url}/s/${space}/pipelines`);
  await page.getByLabel("API key").fill("qk_wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("This key is not valid").waitFor();
  await page.getByLabel("API key").fill(keys.editor);
  await page.getByRole("button", { name: "Sign in" }).click();
  // The page that was asked for.
  await page.getByRole("heading", { name: "Pipelines", level: 1 }).waitFor();
  const cookies = await context.cookies();
  assert.equal(cookies.length, 1);
  assert.equal(cookies[0].httpOnly, true);
  assert.equal(cookies[0].sameSite, "Lax");
  const stored = await page.evaluate(
    () => JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }) + document.cookie,
  );
  assert.ok(!stored.includes("qk_"), stored);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  assert.equal((await ask(page, "/api/v1.0/me")).status, 401);
  assert.deepEqual(faults, []);
  await context.close();
});

test("an editor finds a failing pipeline, opens its run and comments", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}`);
  const failing = page.getByRole("region", { name: "Failing" });
  await failing.getByRole("link", { name: "stock_check" }).click();
  await page.getByRole("heading", { name: "stock_check", level: 1 }).waitFor();
  const runs = await ask(page, `${base}/runs?status=failed&size=1`);
  await visit(page, `/s/${space}/runs/${runs.body[0].id}`);
  const text = "The shelf is short of one item again.";
  await page
    .getByRole("textbox", { name: /comment/i })
    .first()
    .fill(text);
  await page
    .getByRole("button", { name: /^(add|send|post|comment)/i })
    .first()
    .click();
  await page.getByText(text).first().waitFor();
  const comments = await ask(page, `${base}/runs/${runs.body[0].id}/comments`);
  assert.ok(comments.body.some((one) => one.content === text));
  assert.deepEqual(faults, []);
  await context.close();
});

test("search and filters live in the address, and the way back restores them", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines`);
  const rows = page.locator("[data-row]");
  await page.keyboard.press("/");
  await page.keyboard.type("sales");
  await page.waitForURL(/q=sales/);
  await page.waitForFunction(() => document.querySelectorAll("[data-row]").length === 1);
  assert.equal(await rows.first().textContent(), "daily_sales");
  await page.getByRole("searchbox", { name: "Search pipelines" }).fill("");
  await page.waitForURL((address) => !address.search.includes("q="));
  await page
    .getByRole("group", { name: "Status" })
    .getByRole("button", { name: /Failed/ })
    .click();
  await page.waitForURL(/status=failed/);
  await page.waitForFunction(() => document.querySelectorAll("[data-row]").length === 1);
  await page.reload();
  await page.waitForFunction(() => document.querySelectorAll("[data-row]").length === 1);
  assert.equal(await rows.first().textContent(), "stock_check");
  await context.close();
});

test("the way back shows a list where it was left", async () => {
  const { page, context } = await openPage(browser, { viewport: { width: 390, height: 400 } });
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/runs`);
  await page.locator("[data-row]").first().waitFor();
  // The list is below a timeline, whose height depends on the runs.
  const left = await page.evaluate(() => {
    window.scrollBy(0, document.querySelector("table").getBoundingClientRect().top - 100);
    return window.scrollY;
  });
  assert.ok(left > 0);
  // Playwright would scroll to what it clicks.
  await page
    .locator("[data-row]")
    .first()
    .evaluate((link) => link.click());
  await page.waitForURL(/\/runs\/[^/]+$/);
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.equal(await page.evaluate(() => window.scrollY), 0);
  await page.goBack();
  await page.getByRole("heading", { name: "Runs", level: 1 }).waitFor();
  await page.waitForFunction((left) => window.scrollY === left, left);
  await context.close();
});

test("an editor sets the team and the criticality of several pipelines at once", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines`);
  await page.getByRole("checkbox", { name: "Select daily_sales" }).check();
  await page.getByRole("checkbox", { name: "Select train_model" }).check();
  await page.getByRole("button", { name: "Set team" }).click();
  await page.getByRole("button", { name: "Data platform" }).click();
  await page.getByText("2 pipelines changed").waitFor();
  await page.getByRole("checkbox", { name: "Select daily_sales" }).check();
  await page.getByRole("button", { name: "Set criticality" }).click();
  await page.getByRole("button", { name: "High", exact: true }).click();
  await page
    .getByRole("row", { name: /daily_sales/ })
    .getByText("High")
    .waitFor();
  const found = await ask(page, `${base}/pipelines?q=daily_sales`);
  assert.equal(found.body[0].team.name, "Data platform");
  assert.equal(found.body[0].criticality, "high");
  // Its own page offers the teams, which the list has read already.
  await page.getByRole("link", { name: "daily_sales", exact: true }).click();
  await page.getByRole("heading", { name: "daily_sales", level: 1 }).waitFor();
  const team = page.locator("label.inline-field").filter({ hasText: /^Team/ });
  await team.locator("option", { hasText: "Data platform" }).waitFor({ state: "attached" });
  assert.deepEqual(faults, []);
  await context.close();
});

test("the list follows a run that is triggered elsewhere", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines?q=warehouse_stock`);
  const strip = page.locator(".run-strip").first();
  await strip.waitFor();
  const before = await strip.getAttribute("aria-label");
  const pipeline = (await call(keys.editor, "GET", `${base}/pipelines?q=warehouse_stock`))[0];
  await call(keys.editor, "POST", `${base}/pipelines/${pipeline.id}/trigger`, {});
  await page.waitForFunction(
    (label) => document.querySelector(".run-strip")?.getAttribute("aria-label") !== label,
    before,
    { timeout: 180_000 },
  );
  await context.close();
});

test("an editor syncs a connector and sees it succeed", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/connectors`);
  await page.getByRole("link", { name: "local airflow" }).click();
  await page.getByRole("heading", { name: "local airflow", level: 1 }).waitFor();
  await page.getByRole("button", { name: "Sync local airflow now" }).click();
  await page.getByText("A sync is requested").waitFor();
  await page
    .getByRole("region", { name: "Syncs" })
    .getByText("Edith Editor")
    .first()
    .waitFor({ timeout: 180_000 });
  await page.getByRole("button", { name: "Test", exact: true }).click();
  await page.getByRole("dialog", { name: "The test has succeeded" }).waitFor({ timeout: 180_000 });
  await page.keyboard.press("Escape");
  assert.deepEqual(faults, []);
  await context.close();
});

test("the rows of a list are reached and opened with the keyboard alone", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/pipelines`);
  await page.locator("[data-row]").first().waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await page.keyboard.press("k");
  const focused = await page.evaluate(() => document.activeElement.textContent);
  assert.equal(focused, "customer_segments");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "customer_segments", level: 1 }).waitFor();
  await page.keyboard.press("g");
  await page.keyboard.press("r");
  await page.getByRole("heading", { name: "Runs", level: 1 }).waitFor();
  await context.close();
});
