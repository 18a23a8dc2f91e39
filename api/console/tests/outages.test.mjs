// What the pages say while a part is away, and that they come back by themselves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ownApi } from "./api_process.mjs";
import { ask, base, call, keys, launch, openPage, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const PATIENCE = { timeout: 60_000 };

async function withApi(settings, use) {
  const api = await ownApi(settings);
  const { page, context } = await openPage(browser);
  try {
    await use(page, api);
  } finally {
    await context.close();
    await api.stop();
  }
}

test("an API that is down and comes back is told, and the page goes on", async () => {
  await withApi({}, async (page, api) => {
    await signIn(page, keys.editor, api.address);
    await visit(page, `/s/${space}/pipelines`, api.address);
    const rows = page.locator("[data-row]");
    await rows.first().waitFor();
    const before = await rows.count();
    await api.stop();
    await page.getByText("The API does not answer.").waitFor(PATIENCE);
    assert.equal(await rows.count(), before, "what is shown stays");
    await api.start();
    await page.getByText("The API does not answer.").waitFor({ state: "detached", ...PATIENCE });
    await page.getByRole("searchbox", { name: "Search pipelines" }).fill("sales");
    await page.waitForFunction(() => document.querySelectorAll("[data-row]").length === 1);
  });
});

test("a page that is opened while the API is down continues when it is there", async () => {
  await withApi({}, async (page, api) => {
    await signIn(page, keys.editor, api.address);
    await visit(page, `/s/${space}/runs`, api.address);
    // The document is there, and every request of it fails.
    await page.route("**/api/**", (route) => route.abort());
    await page.reload();
    await page.getByText("The API does not answer").first().waitFor(PATIENCE);
    await page.unroute("**/api/**");
    await page.locator("[data-row]").first().waitFor(PATIENCE);
  });
});

test("without Kafka the pages read, and say that nothing is live", async () => {
  await withApi({ KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:9" }, async (page, api) => {
    await signIn(page, keys.viewer, api.address);
    for (const path of [`/s/${space}`, `/s/${space}/pipelines`, `/s/${space}/runs`]) {
      await visit(page, path, api.address);
      await page.locator("[data-row]").first().waitFor();
      await page.getByText("Live updates are interrupted").waitFor(PATIENCE);
    }
  });
});

test("a mirror that is behind its source is told on every page of the space", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  // The mirror as it would be after ten minutes without a worker.
  const late = new Date(Date.now() - 600_000).toISOString();
  await page.route("**/api/v1.0/catalog/spaces/*/connectors?*", async (route) => {
    const response = await route.fetch();
    const connectors = await response.json();
    const stale = connectors.map((one) => ({ ...one, next_due_at: late, last_synced_at: late }));
    await route.fulfill({ response, json: stale });
  });
  for (const path of [`/s/${space}`, `/s/${space}/pipelines`, `/s/${space}/runs`, `/s/${space}/people`]) {
    await visit(page, path);
    await page.getByText("was last read 10 min ago").first().waitFor();
  }
  await page.unroute("**/api/v1.0/catalog/spaces/*/connectors?*");
  await visit(page, `/s/${space}/runs`);
  assert.equal(await page.getByText("was last read").count(), 0);
  await context.close();
});

test("the session of a read-only key offers no change, and none is accepted", async () => {
  const made = await call(keys.editor, "POST", "/api/v1.0/api-keys", {
    label: "dashboard",
    expires_at: null,
    read_only: true,
  });
  const { page, context } = await openPage(browser);
  await signIn(page, made.key);
  await visit(page, `/s/${space}/pipelines`);
  await page.locator("[data-row]").first().waitFor();
  assert.equal(await page.getByRole("checkbox", { name: /^Select/ }).count(), 0);
  const [pipeline] = (await ask(page, `${base}/pipelines?size=1`)).body;
  await visit(page, `/s/${space}/pipelines/${pipeline.id}`);
  assert.equal(await page.getByRole("button", { name: "Trigger", exact: true }).count(), 0);
  const refused = await ask(page, `${base}/pipelines/${pipeline.id}/trigger`, { method: "POST" });
  assert.equal(refused.status, 403);
  await visit(page, "/account");
  await page.getByText("(read-only)").waitFor();
  await page.getByRole("region", { name: "Sessions" }).getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key").waitFor();
  await call(keys.editor, "DELETE", `/api/v1.0/api-keys/${made.id}`);
  await context.close();
});
