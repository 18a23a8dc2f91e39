// What the pages say while a part is away, and that they come back by themselves.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ownApi } from "./api_process.mjs";
import { ask, base, call, keys, launch, openPage, pagesOf, signIn, space, url, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const PATIENCE = { timeout: 60_000 };

async function withApi(use) {
  const api = await ownApi();
  const { page, context } = await openPage(browser);
  try {
    await signIn(page, keys.admin, api.address);
    await use(context, api);
  } finally {
    await context.close();
    await api.stop();
  }
}

/** Opens each page in a tab of its own; `isReady` waits until a tab shows what it should. */
async function openTabs(context, pages, address = url, isReady = () => undefined) {
  const tabs = [];
  for (const [name, path] of pages) {
    const tab = await context.newPage();
    await tab.goto(address + path);
    await isReady(tab);
    tabs.push([name, tab]);
  }
  return tabs;
}

async function isLoaded(tab) {
  await tab.locator("h1").first().waitFor(PATIENCE);
  await tab.waitForFunction(() => !document.querySelector(".skeleton"), undefined, PATIENCE);
}

/** Checks all tabs at once, and fails with the names of those where the check fails. */
async function inEveryTab(tabs, check) {
  const found = await Promise.all(
    tabs.map(([name, tab]) =>
      check(tab).then(
        () => null,
        (error) => `${name}: ${error.message.split("\n")[0]}`,
      ),
    ),
  );
  assert.deepEqual(
    found.filter((one) => one !== null),
    [],
  );
}

const shows = (text) => (tab) => tab.getByText(text).first().waitFor(PATIENCE);
const showsNoMore = (text) => (tab) =>
  tab
    .getByText(text)
    .first()
    .waitFor({ state: "detached", ...PATIENCE });
const isOfSpace = ([, path]) => path.startsWith("/s/");

test("every page says that the API is down, keeps what it shows, and goes on by itself", async () => {
  await withApi(async (context, api) => {
    const tabs = await openTabs(context, await pagesOf(keys.admin), api.address, isLoaded);
    const texts = () => Promise.all(tabs.map(([, tab]) => tab.locator("h1, h2").allTextContents()));
    const before = await texts();
    await api.stop();
    await inEveryTab(tabs, shows("The API does not answer."));
    assert.deepEqual(await texts(), before, "what is shown stays");
    await api.start();
    await inEveryTab(tabs, showsNoMore("The API does not answer."));
    await inEveryTab(tabs, showsNoMore("could not be read"));
    const [, pipelines] = tabs.find(([name]) => name === "pipelines");
    await pipelines.getByRole("searchbox", { name: "Search pipelines" }).fill("sales");
    await pipelines.waitForFunction(() => document.querySelectorAll("[data-row]").length === 1);
  });
});

test("every page that is opened while the API is down says so, and continues when it is there", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.admin);
  // Who is signed in is known already, so that each page shows itself.
  const known = ["/api/v1.0/me", "/api/v1.0/session"];
  await context.route("**/api/**", (route) =>
    known.includes(new URL(route.request().url()).pathname) ? route.continue() : route.abort(),
  );
  const tabs = await openTabs(context, await pagesOf(keys.admin));
  await inEveryTab(tabs, shows("The API does not answer"));
  await context.unroute("**/api/**");
  await inEveryTab(tabs, isLoaded);
  await inEveryTab(tabs, showsNoMore("The API does not answer"));
  await context.close();
});

test("without Kafka every page reads and says that nothing is live, until it is there again", async () => {
  await withApi(async (context, api) => {
    const pages = (await pagesOf(keys.admin)).filter(isOfSpace);
    const tabs = await openTabs(context, pages, api.address, isLoaded);
    await api.stop();
    await api.start({ KAFKA_BOOTSTRAP_SERVERS: "127.0.0.1:9" });
    // One of the tabs reads the events for all.
    await inEveryTab(tabs, shows("Live updates are interrupted"));
    const [, runs] = tabs.find(([name]) => name === "runs");
    await runs.reload();
    await runs.locator("[data-row]").first().waitFor();
    await api.stop();
    await api.start();
    await inEveryTab(tabs, showsNoMore("Live updates are interrupted"));
  });
});

test("every page says that its key was revoked", async () => {
  const key = { label: "short", expires_at: null, read_only: false };
  const made = await call(keys.admin, "POST", "/api/v1.0/api-keys", key);
  const { page, context } = await openPage(browser);
  await signIn(page, made.key);
  const tabs = await openTabs(context, await pagesOf(keys.admin), url, isLoaded);
  await call(keys.admin, "DELETE", `/api/v1.0/api-keys/${made.id}`);
  await inEveryTab(tabs, shows("Your session has ended"));
  await context.close();
});

test("a mirror that is behind its source is told on every page of the space", async () => {
  const { page, context } = await openPage(browser);
  await signIn(page, keys.admin);
  // The mirror as it would be after ten minutes without a worker.
  const late = new Date(Date.now() - 600_000).toISOString();
  await page.route("**/api/v1.0/catalog/spaces/*/connectors?*", async (route) => {
    const response = await route.fetch();
    const connectors = await response.json();
    const stale = connectors.map((one) => ({ ...one, next_due_at: late, last_synced_at: late }));
    await route.fulfill({ response, json: stale });
  });
  for (const [, path] of (await pagesOf(keys.admin)).filter(isOfSpace)) {
    await visit(page, path);
    await page.getByText("was last read 10 min ago").first().waitFor();
  }
  await page.unroute("**/api/v1.0/catalog/spaces/*/connectors?*");
  await visit(page, `/s/${space}/runs`);
  assert.equal(await page.getByText("was last read").count(), 0);
  await context.close();
});

test("a pipeline that has never run says so in every view", async () => {
  const [pipeline] = await call(keys.viewer, "GET", `${base}/pipelines?status=never_run&size=1`);
  assert.ok(pipeline, "the Airflow of the tests has a DAG that nothing starts");
  const { page, context } = await openPage(browser);
  await signIn(page, keys.viewer);
  for (const view of ["grid", "durations", "runs"]) {
    await visit(page, `/s/${space}/pipelines/${pipeline.id}?view=${view}`);
    await page.getByText("This pipeline has not run yet").waitFor();
  }
  await visit(page, `/s/${space}/pipelines?status=never_run`);
  await page.getByText("No runs yet").first().waitFor();
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
