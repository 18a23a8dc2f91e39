// A connector from its creation to its deletion, of an Airflow that gives no answer and then refuses.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { call, keys, launch, openPage, signIn, space, visit } from "./browser.mjs";

const SECRET = "canary-of-the-console";
const PATIENCE = { timeout: 60_000 };
const path = `/api/v1.0/catalog/spaces/${space}/connectors`;

let browser;
let server;
let isSilent = true;
before(async () => {
  browser = await launch();
  server = createServer((_, response) => {
    if (!isSilent) response.writeHead(401, { "content-type": "application/json" }).end('{"detail": "no"}');
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
});
after(async () => {
  server.closeAllConnections();
  server.close();
  await browser.close();
});

/** Everything that the document has, with what was typed. */
function contentOf(page) {
  return page.evaluate(
    () =>
      document.documentElement.outerHTML +
      [...document.querySelectorAll("input, textarea")].map((field) => field.value).join(),
  );
}

/** The connector after its sync, which was no full one, has failed. */
async function refused() {
  for (;;) {
    const all = await call(keys.admin, "GET", path);
    const connector = all.find((one) => one.name === "quiet airflow");
    if (!connector.latest_sync.full && connector.latest_sync.status === "failed") return connector;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

async function choose(page, item) {
  await page.getByRole("button", { name: "More", exact: true }).click();
  await page.getByRole("button", { name: item, exact: true }).click();
}

test("an admin makes a connector, changes it, cancels its sync, reads its error and deletes it", async () => {
  const { page, context, faults } = await openPage(browser);
  await signIn(page, keys.admin);
  await visit(page, `/s/${space}/connectors`);
  await page.getByRole("link", { name: "New connector" }).click();
  await page.getByLabel("Name", { exact: true }).fill("night airflow");
  await page.getByLabel("Address").fill("not an address");
  await page.getByLabel("User", { exact: true }).fill("svc");
  await page.getByLabel("Password", { exact: true }).fill(SECRET);
  await page.getByLabel("Schedule").fill("");
  const create = page.getByRole("button", { name: "Create the connector" });
  await create.click();
  // The browser refuses it already.
  assert.equal(await page.getByLabel("Address").evaluate((field) => field.validity.typeMismatch), true);
  await page.getByLabel("Address").fill(`http://127.0.0.1:${server.address().port}`);
  await create.click();
  await page.getByRole("heading", { name: "night airflow", level: 1 }).waitFor();
  const settings = page.getByRole("region", { name: "Settings" });
  await settings.getByText("User and password (svc)").waitFor();
  await settings.getByText("Manual only").waitFor();

  await page.getByRole("button", { name: "Change", exact: true }).click();
  await page.getByText("The current ones are never shown").waitFor();
  assert.ok(!(await contentOf(page)).includes(SECRET));
  await page.getByLabel("Name", { exact: true }).fill("quiet airflow");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByRole("heading", { name: "quiet airflow", level: 1 }).waitFor();

  await choose(page, "Full sync…");
  await page.getByRole("dialog").getByRole("button", { name: "Request a full sync" }).click();
  await page.getByText("A full sync is requested").waitFor();
  const latest = page.getByRole("region", { name: "Latest sync" });
  await latest.getByText("Running", { exact: true }).waitFor(PATIENCE);
  await latest.getByText("Ada Admin · full").waitFor();
  await latest.getByText("Requests", { exact: true }).waitFor();
  await latest.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("The sync is cancelled").waitFor();
  await latest.locator(".notice-danger").filter({ hasText: "Ada Admin" }).waitFor(PATIENCE);

  isSilent = false;
  server.closeAllConnections();
  await page.getByRole("button", { name: "Sync quiet airflow now" }).click();
  const connector = await refused();
  assert.ok(!JSON.stringify(connector).includes(SECRET));
  await page.getByText(/^The last .*sync.* failed\.$/).waitFor(PATIENCE);
  await latest.getByText(connector.latest_sync.error).waitFor(PATIENCE);

  await choose(page, "Switch off");
  await page.getByText("This connector is switched off").waitFor();
  await choose(page, "Delete…");
  await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByText("quiet airflow is deleted").waitFor();
  await page.getByRole("heading", { name: "Connectors", level: 1 }).waitFor();
  await page.getByRole("link", { name: "quiet airflow" }).waitFor({ state: "detached" });
  assert.deepEqual(faults, []);
  await context.close();
});
