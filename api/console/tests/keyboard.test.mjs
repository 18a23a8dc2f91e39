// Every page by the keyboard alone: each control is reached with Tab, and the focus is always in sight.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  keys,
  launch,
  openPage,
  pagesOf,
  pipelineOf,
  signIn,
  space,
  url,
  viewsOf,
  violations,
  visit,
} from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** What must be reachable: everything that can be clicked and takes the focus. */
const CONTROLS =
  "main a[href], main button:not([disabled]), main input, main select, main textarea, main [tabindex='0']";
const MOST_STEPS = 400;

/** Presses Tab until the focus leaves the page, and notes what has had it and was not in sight. */
async function walk(page) {
  await page.evaluate((controls) => {
    window.scrollTo(0, 0);
    document.activeElement?.blur();
    const visible = [...document.querySelectorAll(controls)].filter(
      (element) => element.checkVisibility() && element.tabIndex >= 0 && element.ariaHidden !== "true",
    );
    window.walked = { wanted: new Set(visible), hidden: [] };
  }, CONTROLS);
  for (let step = 0; step < MOST_STEPS; step += 1) {
    await page.keyboard.press("Tab");
    const isThrough = await page.evaluate(() => {
      const { wanted, hidden } = window.walked;
      const focused = document.activeElement;
      const box = focused.getBoundingClientRect();
      const inSight = box.bottom > 0 && box.top < innerHeight && box.width > 0 && box.height > 0;
      if (wanted.has(focused) && !inSight) hidden.push(focused.outerHTML.slice(0, 120));
      wanted.delete(focused);
      for (const element of wanted) if (!element.isConnected) wanted.delete(element);
      // A group of radio buttons and a row of tabs are one stop each.
      return wanted.size === 0 || focused === document.body;
    });
    if (isThrough) break;
  }
  return page.evaluate(() => [
    ...window.walked.hidden.map((html) => `out of sight: ${html}`),
    ...[...window.walked.wanted].map((element) => `not reached: ${element.outerHTML.slice(0, 120)}`),
  ]);
}

test("every control of every page is reached with Tab, and is in sight then", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.admin);
  const found = [];
  const views = (await viewsOf(keys.admin)).filter(([name]) => name.startsWith("pipeline-"));
  for (const [name, path] of [...(await pagesOf(keys.admin)), ...views]) {
    await visit(page, path);
    found.push(...(await walk(page)).map((one) => `${name}: ${one}`));
  }
  assert.deepEqual(found, []);
  await context.close();
});

test("somebody signs in, makes a key and revokes it without a mouse", async () => {
  const { page, context } = await openPage(browser);
  await page.goto(`${url}/sign-in`);
  await page.getByLabel("API key").waitFor();
  await page.keyboard.type(keys.viewer);
  await page.keyboard.press("Enter");
  await page.locator('nav[aria-label="Space"]').waitFor({ state: "attached" });
  await visit(page, "/account");
  await focusOn(page, page.getByRole("button", { name: "New key" }));
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "New API key" }).waitFor();
  await focusOn(page, page.getByLabel("Label"));
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Your new key" }).waitFor();
  await page.keyboard.press("Escape");
  const revoke = page.getByRole("button", { name: "Revoke by keyboard" });
  await focusOn(page, revoke);
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Revoke by keyboard?" });
  await focusOn(page, dialog.getByRole("button", { name: "Revoke", exact: true }));
  await page.keyboard.press("Enter");
  await revoke.waitFor({ state: "detached" });
  await context.close();
});

test("the grid is walked with the arrow keys and opens a run with Enter", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  const [, pipeline] = (await pagesOf(keys.viewer)).find(([name]) => name === "pipeline");
  await visit(page, pipeline);
  const cursor = page.locator(".grid-cursor");
  await focusOn(page, cursor);
  const first = await cursor.getAttribute("aria-label");
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction((label) => document.activeElement.ariaLabel !== label, first);
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/s/${space}/runs/`));
  await context.close();
});

test("the views of a pipeline are walked with the arrow keys, and lead to runs", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  const { id } = await pipelineOf("customer_segments");
  await visit(page, `/s/${space}/pipelines/${id}`);
  const tab = (name) => page.getByRole("tab", { name, exact: true });
  await focusOn(page, tab("Grid"));
  await page.keyboard.press("ArrowRight");
  await page.waitForURL(/view=graph/);
  await focusOn(page, page.getByRole("group", { name: /^Task graph with/ }));
  const box = page.locator(".graph-focus");
  await page.keyboard.press("ArrowRight");
  const first = await box.getAttribute("d");
  assert.notEqual(first, "");
  await page.keyboard.press("ArrowRight");
  assert.notEqual(await box.getAttribute("d"), first);
  await tab("Graph").focus();
  await page.keyboard.press("ArrowRight");
  await page.waitForURL(/view=durations/);
  await focusOn(page, page.getByRole("img", { name: /^Durations of/ }));
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/s/${space}/runs/`));
  await visit(page, `/s/${space}/pipelines/${id}?view=runs`);
  await page.locator("[data-row]").first().waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/s/${space}/runs/`));
  await context.close();
});

test("the strip of a pipeline's runs opens as a table with Enter", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/pipelines?q=customer_segments`);
  const strip = page.getByRole("button", { name: /^Last \d+ runs/ });
  await focusOn(page, strip);
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: /of customer_segments$/ });
  await dialog.getByRole("cell", { name: "Success" }).first().waitFor();
  assert.deepEqual(await violations(page), []);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.ok(await strip.evaluate((element) => element === document.activeElement));
  await page.keyboard.press("Enter");
  await focusOn(page, dialog.getByRole("link").first());
  await page.keyboard.press("Enter");
  await page.waitForURL(new RegExp(`/s/${space}/runs/`));
  await context.close();
});

/** Presses Tab until an element has the focus. */
async function focusOn(page, locator) {
  await locator.waitFor();
  for (let step = 0; step < MOST_STEPS; step += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${locator} is not reached`);
}
