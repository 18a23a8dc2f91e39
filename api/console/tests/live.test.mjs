// The event stream: one for all tabs of a browser, taken over by another tab when the first is closed.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { base, call, keys, launch, openPage, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** Counts the streams that a page opens. */
function streamsOf(page) {
  const streams = [];
  page.on("request", (request) => {
    if (request.url().endsWith("/events")) streams.push(request);
  });
  return streams;
}

async function triggered() {
  const [pipeline] = await call(keys.editor, "GET", `${base}/pipelines?q=warehouse_stock`);
  await call(keys.editor, "POST", `${base}/pipelines/${pipeline.id}/trigger`, {});
}

async function stripChanges(page, label) {
  await page.waitForFunction(
    (before) => document.querySelector(".run-strip")?.getAttribute("aria-label") !== before,
    label,
    { timeout: 180_000 },
  );
}

test("two tabs share one stream, and the second takes over when the first is closed", async () => {
  const { page: first, context } = await openPage(browser);
  const second = await context.newPage();
  const [ofFirst, ofSecond] = [streamsOf(first), streamsOf(second)];
  const path = `/s/${space}/pipelines?q=warehouse_stock`;
  await signIn(first, keys.viewer);
  await visit(first, path);
  await visit(second, path);
  const strip = second.locator(".run-strip").first();
  await strip.waitFor();
  const before = await strip.getAttribute("aria-label");
  await triggered();
  await stripChanges(second, before);
  assert.ok(ofFirst.length > 0);
  assert.equal(ofSecond.length, 0);
  await first.close();
  await second.waitForFunction(() => navigator.locks.query().then(({ held }) => held.length === 1));
  const later = await strip.getAttribute("aria-label");
  await triggered();
  await stripChanges(second, later);
  assert.ok(ofSecond.length > 0);
  // It resumes where the first has stopped, so that nothing in between is lost.
  assert.ok((await ofSecond[0].allHeaders())["last-event-id"]);
  await context.close();
});

test("a run that has started is told where it matches the filters, and nowhere else", async () => {
  const { page: all, context } = await openPage(browser);
  const failed = await context.newPage();
  await signIn(all, keys.viewer);
  await visit(all, `/s/${space}/runs?q=warehouse_stock`);
  await visit(failed, `/s/${space}/runs?q=warehouse_stock&status=failed`);
  const checked = failed.waitForResponse(/\/runs\?.*status=failed.*&id=/, { timeout: 180_000 });
  await triggered();
  await all.getByText("One run has started or changed").waitFor({ timeout: 180_000 });
  await (await checked).finished();
  assert.equal(await failed.getByText("started or changed").count(), 0);
  await all.getByRole("button", { name: /started or changed/ }).click();
  await all.getByText("started or changed").waitFor({ state: "detached" });
  await context.close();
});

test("a second tab of a quiet space knows at once that events arrive", async () => {
  const { page: first, context } = await openPage(browser);
  await signIn(first, keys.admin);
  const opened = first.waitForResponse((response) => response.url().endsWith("/empty/orchestration/events"));
  await visit(first, "/s/empty/pipelines");
  await opened;
  const second = await context.newPage();
  await second.clock.install();
  await visit(second, "/s/empty/pipelines");
  await second.waitForTimeout(500);
  // Longer than a page waits before it says that nothing is live.
  await second.clock.fastForward(12_000);
  await second.waitForTimeout(200);
  assert.equal(await second.getByText("Live updates are interrupted").count(), 0);
  await context.close();
});
