// The home of a space: its numbers, and what it keeps in sight.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, call, keys, launch, openPage, pipelineOf, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const TILES = [
  "Failing pipelines",
  "Late or slow",
  "Running now",
  "Failed runs in 24 hours",
  "Pipelines whose last run succeeded",
];
const TRIES = 5;

const numberOf = (text) => Number(/\d[\d,]*/.exec(text)?.[0].replaceAll(",", ""));

/** Waits until an element has a number, and returns it. */
async function numberIn(locator) {
  await locator.filter({ hasText: /\d/ }).waitFor();
  return numberOf(await locator.textContent());
}

/** The number of a tile, and how many rows the list has that it leads to. */
async function follow(page, label) {
  await visit(page, `/s/${space}`);
  const tile = page.locator("a.tile").filter({ hasText: label });
  const shown = await numberIn(tile.locator(".tile-value"));
  await tile.click();
  await page.locator(".tiles").waitFor({ state: "detached" });
  return { shown, listed: await numberIn(page.locator("p.second").first()) };
}

test("every number leads to a list of as many rows", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.viewer);
  for (const label of TILES) {
    // A run may begin or end between the two.
    let found = await follow(page, label);
    for (let tried = 1; found.shown !== found.listed && tried < TRIES; tried += 1) {
      found = await follow(page, label);
    }
    assert.equal(found.shown, found.listed, label);
  }
  await visit(page, `/s/${space}`);
  await page.getByRole("link", { name: "All of the last hour" }).click();
  await page.getByRole("heading", { name: "Runs", level: 1 }).waitFor();
  const period = page.getByRole("combobox", { name: "Period" });
  assert.equal(await period.locator("option:checked").textContent(), "Ended in the last hour");
  assert.deepEqual(faults, []);
  await context.close();
});

test("a failing pipeline stays in sight while it runs again", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}`);
  const failing = page.getByRole("region", { name: "Failing" });
  await failing.getByRole("link", { name: "stock_check" }).waitFor({ timeout: 120_000 });
  const { id } = await pipelineOf("stock_check");
  await call(keys.editor, "POST", `${base}/pipelines/${id}/trigger`, {});
  await failing.getByText(/(Runs|Queued) again/).waitFor({ timeout: 60_000 });
  await context.close();
});

test("the list of pipelines is sorted by failed runs, and filtered by what is not paused or removed", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/pipelines`);
  await page.getByRole("combobox", { name: "Sort" }).selectOption("-failed_count");
  await page.waitForFunction(() => document.querySelector("[data-row]")?.textContent === "stock_check");
  await page
    .getByText(/^\d+ failed$/)
    .first()
    .waitFor();
  for (const [name, value, filter] of [
    ["Paused", "false", "is_paused=false"],
    ["Removed", "false", "is_active=false"],
  ]) {
    const all = await call(keys.viewer, "GET", `${base}/pipelines?${filter}`);
    await visit(page, `/s/${space}/pipelines`);
    await page.getByRole("combobox", { name }).selectOption(value);
    await page.waitForURL(new RegExp(filter));
    await page.waitForFunction(
      (count) => document.querySelectorAll("[data-row]").length === count,
      all.length,
    );
  }
  await context.close();
});
