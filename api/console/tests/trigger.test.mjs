// A run with a parameter, from the dialog until it is green.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, base, call, keys, launch, openPage, pipelineOf, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

test("an editor triggers a run with a typed parameter and watches it turn green", async () => {
  const { page, context, faults } = await openPage(browser);
  const [pipeline] = await call(keys.editor, "GET", `${base}/pipelines?q=train_model`);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines/${pipeline.id}`);
  await page.getByRole("button", { name: "Trigger", exact: true }).click();
  const dialog = page.getByRole("dialog");
  // Airflow's own default and description, read when the dialog opens.
  const epochs = dialog.getByLabel("epochs", { exact: true });
  await epochs.waitFor({ timeout: 30_000 });
  assert.equal(await epochs.inputValue(), "4");
  await dialog.getByText("How often the data is gone through").waitFor();
  for (const [text, fault] of [
    ["many", "Enter a number."],
    ["1.5", "Enter a whole number."],
    ["0", "Enter at least 1."],
  ]) {
    await epochs.fill(text);
    await dialog.getByRole("button", { name: "Continue" }).click();
    await dialog.getByText(fault).waitFor();
  }
  await epochs.fill("1");
  await dialog.getByRole("button", { name: "Write JSON instead" }).click();
  const configuration = dialog.getByLabel("Configuration");
  assert.deepEqual(JSON.parse(await configuration.inputValue()), { epochs: 1 });
  await configuration.fill('{"epochs": 1');
  await dialog.getByRole("button", { name: "Continue" }).click();
  // What is no JSON is said before anything is sent.
  await page.waitForFunction(() => document.querySelector("dialog .field-fault")?.textContent !== "");
  await dialog.getByRole("button", { name: "Fill in a form" }).click();
  await dialog.getByRole("button", { name: "Continue" }).click();
  await dialog.getByText('"epochs": 1').waitFor();
  await dialog.getByRole("button", { name: "Trigger", exact: true }).click();
  await page.getByRole("heading", { name: /^train_model, / }).waitFor({ timeout: 60_000 });
  const facts = page.locator(".facts-line").first();
  await facts.getByText("Edith Editor").waitFor();
  // Nobody reloads the page.
  await facts.getByText("Success", { exact: true }).waitFor({ timeout: 180_000 });
  const id = new URL(page.url()).pathname.split("/").at(-1);
  const run = (await ask(page, `${base}/runs/${id}`)).body;
  assert.deepEqual([run.status, run.conf.epochs], ["success", 1]);
  assert.deepEqual(faults, []);
  await context.close();
});

test("what is hidden in the configuration of a run is not sent again unless somebody says so", async () => {
  const { page, context } = await openPage(browser);
  const [run] = await call(keys.editor, "GET", `${base}/runs?q=train_model&size=1`);
  await signIn(page, keys.editor);
  // The mirror has a run's secrets as asterisks.
  await page.route(`**/orchestration/runs/${run.id}`, async (route) => {
    const response = await route.fetch();
    const conf = { epochs: 1, warehouse_password: "***" };
    await route.fulfill({ response, json: { ...(await response.json()), conf } });
  });
  const parameter = { value: null, description: null, schema: { type: "string" }, is_redacted: true };
  await page.route("**/parameters", async (route) => {
    const response = await route.fetch();
    const { parameters } = await response.json();
    const all = [...parameters, { ...parameter, name: "warehouse_password" }];
    await route.fulfill({ response, json: { parameters: all, error: null } });
  });
  await visit(page, `/s/${space}/runs/${run.id}`);
  await page.getByRole("button", { name: "Trigger again" }).click();
  const dialog = page.getByRole("dialog");
  const password = dialog.getByLabel("warehouse_password", { exact: true });
  await password.waitFor({ timeout: 30_000 });
  assert.equal(await password.inputValue(), "");
  await dialog.getByText("The earlier run had a secret value.").waitFor();
  await password.fill("***");
  await dialog.getByRole("button", { name: "Continue" }).click();
  await dialog.getByText("Enter it, or leave it out.").waitFor();
  await password.fill("canary");
  await dialog.getByRole("button", { name: "Continue" }).click();
  // What is secret is not shown to who looks over the shoulder.
  await dialog.getByText('"warehouse_password": "(as entered)"').waitFor();
  assert.equal(await dialog.getByText("canary").count(), 0);
  await dialog.getByRole("button", { name: "Back" }).click();
  await password.fill("***");
  await dialog.getByRole("checkbox", { name: "Send *** as it is" }).check();
  await dialog.getByRole("button", { name: "Continue" }).click();
  await dialog.getByRole("button", { name: "Trigger", exact: true }).waitFor();
  await context.close();
});

test("without an answer of the provider a run is triggered with JSON", async () => {
  const { page, context } = await openPage(browser);
  const [pipeline] = await call(keys.editor, "GET", `${base}/pipelines?q=daily_sales`);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines/${pipeline.id}`);
  // A provider that is away would keep all tests from their runs.
  const body = { parameters: null, error: "The provider gave no answer within 10s." };
  await page.route("**/parameters", (route) => route.fulfill({ json: body }));
  await page.getByRole("button", { name: "Trigger", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("The provider gave no answer within 10s.").waitFor();
  await dialog.getByLabel("Configuration").fill('{"day": "2026-01-01"}');
  await dialog.getByRole("button", { name: "Continue" }).click();
  await dialog.getByText('"day": "2026-01-01"').waitFor();
  await context.close();
});

test("what the provider refuses is shown in its own words, and starts no run", async () => {
  const { page, context, faults } = await openPage(browser);
  const { id } = await pipelineOf("train_model");
  const runs = `${base}/pipelines/${id}/runs?run_type=manual&size=1`;
  const [newest] = await call(keys.editor, "GET", runs);
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/pipelines/${id}`);
  await page.getByRole("button", { name: "Trigger", exact: true }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Write JSON instead" }).click({ timeout: 60_000 });
  // Airflow's own rules for the parameter say at least 1.
  await dialog.getByLabel("Configuration").fill('{"epochs": 0}');
  await dialog.getByRole("button", { name: "Continue" }).click();
  await dialog.getByRole("button", { name: "Trigger", exact: true }).click();
  const refusal = dialog.getByRole("alert");
  await refusal.getByText(/^Airflow refused: .*epochs/).waitFor({ timeout: 60_000 });
  await dialog.getByRole("button", { name: "Try again" }).waitFor();
  assert.equal((await call(keys.editor, "GET", runs))[0]?.id, newest?.id);
  assert.deepEqual(faults, []);
  await context.close();
});
