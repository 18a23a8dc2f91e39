// Channels and rules, by an admin, with a receiver of the test's own.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { call, keys, launch, openPage, signIn, space, visit } from "./browser.mjs";

let browser;
let receiver;
/** The `webhook-id` of each request, and the status that the receiver answers with. */
const received = [];
let answer = 500;

before(async () => {
  browser = await launch();
  receiver = createServer((request, response) => {
    received.push(request.headers["webhook-id"]);
    response.writeHead(answer).end();
  });
  await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
});
after(async () => {
  await browser.close();
  receiver.close();
});

const address = `/s/${space}/notifications`;
const channels = `/api/v1.0/spaces/${space}/orchestration/notifications/channels`;

async function createChannel(page) {
  await page.getByRole("button", { name: "New channel" }).click();
  const dialog = page.getByRole("dialog", { name: "New channel" });
  await dialog.getByLabel("Type").selectOption("email");
  await dialog.getByLabel("Recipients").waitFor();
  await dialog.getByLabel("Type").selectOption("webhook");
  await dialog.getByLabel("Name").fill("on-call hook");
  await dialog.getByLabel("Address").fill(`ftp://127.0.0.1:${receiver.address().port}/`);
  await dialog.getByRole("button", { name: "Create" }).click();
  // The API's own words stand at the field.
  await dialog.locator(".field-fault").waitFor();
  await dialog.getByLabel("Address").fill(`http://127.0.0.1:${receiver.address().port}/`);
  await dialog.getByRole("button", { name: "Create" }).click();
  const shown = page.getByRole("dialog", { name: "The signing secret" });
  const secret = await shown.locator("code").textContent();
  assert.match(secret, /^whsec_/);
  await shown.getByRole("button", { name: "Done" }).click();
  await page.getByRole("heading", { name: "on-call hook", level: 1 }).waitFor();
  return secret;
}

test("an admin creates a channel, tests it, and sends a message again", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.admin);
  await visit(page, address);
  const secret = await createChannel(page);
  await page.getByText("Nothing was sent yet").waitFor();
  await page.getByRole("button", { name: "Send a test" }).click();
  const row = page.getByRole("row", { name: /A test/ }).first();
  await row.getByRole("listitem").getByText("The receiver answered 500").first().waitFor({ timeout: 60_000 });
  assert.equal(await page.getByText(secret).count(), 0);
  answer = 204;
  await row.getByRole("button", { name: /^Send again/ }).click();
  await row.getByText("Delivered", { exact: true }).waitFor({ timeout: 60_000 });
  await row.getByRole("listitem").getByText("Answered 204").waitFor();
  // All attempts have the same id.
  assert.ok(received.length >= 2 && new Set(received).size === 1, received.join());
  await page.getByRole("button", { name: "Switch off" }).click();
  await page.getByText("Switched off", { exact: true }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Send a test" }).isDisabled());
  await page.getByRole("button", { name: "Delete on-call hook" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "Notifications", level: 1 }).waitFor();
  assert.equal(await page.getByRole("link", { name: "on-call hook" }).count(), 0);
  assert.deepEqual(faults, []);
  await context.close();
});

test("an admin writes a rule by kind, criticality, team, tag and pipeline, changes and deletes it", async () => {
  const { page, context, faults } = await openPage(browser);
  const channel = await call(keys.admin, "POST", channels, {
    type: "email",
    name: "rule test",
    config: { to: ["ada@demo.example"] },
    is_active: false,
  });
  await signIn(page, keys.admin);
  await visit(page, address);
  await page.getByRole("button", { name: "New rule" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Report to").selectOption("rule test");
  await dialog.getByRole("checkbox", { name: "Late end" }).check();
  await dialog.getByLabel("Minimum criticality").selectOption("High");
  await dialog.getByLabel("Team of the pipeline").selectOption("Data platform");
  await dialog.getByLabel("Tag of the pipeline").fill("finance");
  await dialog.getByLabel("Pipeline (optional)", { exact: true }).fill("daily");
  await dialog.getByRole("button", { name: "daily_sales" }).click();
  await dialog.getByRole("button", { name: "Create" }).click();
  const row = page.getByRole("region", { name: "Rules" }).getByRole("row", { name: /rule test/ });
  for (const text of [
    "Late end",
    "High or more critical",
    "Team Data platform",
    "Tag finance",
    "Pipeline daily_sales",
  ]) {
    await row.getByText(text, { exact: true }).waitFor();
  }
  await row.getByRole("button", { name: "Change the rule" }).click();
  await dialog.getByRole("button", { name: "Any pipeline" }).click();
  await dialog.getByLabel("Minimum criticality").selectOption("Any");
  await dialog.getByRole("button", { name: "Save" }).click();
  await row.getByText("Pipeline daily_sales").waitFor({ state: "detached" });
  const rules = await call(
    keys.admin,
    "GET",
    channels.replace(/channels$/, `rules?channel_id=${channel.id}`),
  );
  const [{ kinds, min_criticality, tag, pipeline_id }] = rules;
  assert.deepEqual(
    { kinds, min_criticality, tag, pipeline_id },
    {
      kinds: ["late_finish"],
      min_criticality: null,
      tag: "finance",
      pipeline_id: null,
    },
  );
  await row.getByRole("button", { name: "Delete the rule" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await row.waitFor({ state: "detached" });
  await call(keys.admin, "DELETE", `${channels}/${channel.id}`);
  assert.deepEqual(faults, []);
  await context.close();
});

test("an editor is not offered the channels, and is refused at their address", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.editor);
  assert.equal(await page.getByRole("link", { name: "Notifications" }).count(), 0);
  await visit(page, address);
  await page.getByText("Your role does not allow this").waitFor();
  await context.close();
});
