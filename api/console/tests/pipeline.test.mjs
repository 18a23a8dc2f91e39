// The page of a pipeline: whose it is, its drawings as tables, and the way to Airflow.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { keys, launch, openPage, pipelineOf, signIn, space, violations, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("an editor watches a pipeline and gives it a team and a criticality", async () => {
  const { page, context, faults } = await openPage(browser);
  const { id } = await pipelineOf("warehouse_stock");
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines/${id}`);
  const field = (label) => page.locator("label.inline-field").filter({ hasText: label }).locator("select");
  const choose = async (label, choice) => {
    const saved = page.waitForResponse((response) => response.request().method() === "PATCH");
    await field(label).selectOption(choice);
    assert.ok((await saved).ok(), label);
    await page.getByText(`${label} changed`).last().waitFor();
  };
  await page.getByRole("button", { name: "Watch", exact: true }).click();
  const watched = page.getByRole("button", { name: "Watched", exact: true });
  await watched.waitFor();
  await choose("Team", { label: "Data platform" });
  await choose("Criticality", "critical");
  await page.reload();
  await watched.waitFor();
  const chosen = (label) => field(label).locator("option:checked").textContent();
  assert.deepEqual([await chosen("Team"), await chosen("Criticality")], ["Data platform", "Critical"]);
  // Who triggers it is reminded.
  await page.getByRole("button", { name: "Trigger", exact: true }).click();
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("Its criticality is critical.").waitFor();
  await page.keyboard.press("Escape");
  await watched.click();
  await page.getByRole("button", { name: "Watch", exact: true }).waitFor();
  await choose("Team", "");
  await choose("Criticality", "");
  const { team, criticality } = await pipelineOf("warehouse_stock");
  assert.deepEqual([team, criticality], [null, null]);
  assert.deepEqual(faults, []);
  await context.close();
});

test("a pipeline and its runs lead to the same places in Airflow", async () => {
  const { page, context } = await openPage(browser);
  const pipeline = await pipelineOf("stock_check");
  await signIn(page, keys.viewer);
  const link = page.getByRole("link", { name: "Open in Airflow" });
  for (const path of [`pipelines/${pipeline.id}`, `runs/${pipeline.last_run.id}`]) {
    await visit(page, `/s/${space}/${path}`);
    const address = await link.getAttribute("href");
    assert.match(address, /stock_check/);
    assert.deepEqual(
      [await link.getAttribute("target"), await link.getAttribute("rel")],
      ["_blank", "noreferrer"],
    );
    assert.ok((await fetch(address)).ok, address);
  }
  await context.close();
});

test("each drawing is shown as a table, without a violation of accessibility", async () => {
  const { page, context, faults } = await openPage(browser);
  const { id } = await pipelineOf("customer_segments");
  await signIn(page, keys.viewer);
  const found = [];
  for (const [view, cell] of [
    ["grid", "fetch_customers"],
    ["graph", "fetch_customers"],
    ["durations", "Success"],
  ]) {
    await visit(page, `/s/${space}/pipelines/${id}?view=${view}`);
    const choice = page.getByRole("group", { name: /: show as$/ });
    await choice.getByRole("button", { name: "Table" }).click();
    const table = page.getByRole("tabpanel").getByRole("table");
    await table.getByText(cell, { exact: true }).first().waitFor();
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      found.push(...(await violations(page)).map((one) => `${view} ${colorScheme}: ${one}`));
    }
    await choice.getByRole("button", { name: "Drawing" }).click();
    await table.waitFor({ state: "detached" });
  }
  assert.deepEqual(found, []);
  assert.deepEqual(faults, []);
  await context.close();
});
