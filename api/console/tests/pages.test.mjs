// Every page in both themes: no violation that axe finds, no request elsewhere, nothing wider than a small screen.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  dialogsOf,
  keys,
  launch,
  openPage,
  pagesOf,
  signIn,
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

for (const colorScheme of ["light", "dark"]) {
  test(`no page has a violation of accessibility in the ${colorScheme} theme`, async () => {
    const { page, context, faults } = await openPage(browser, { colorScheme });
    await page.goto(`${url}/sign-in`);
    await page.getByLabel("API key").waitFor();
    const found = (await violations(page)).map((one) => `sign-in: ${one}`);
    await signIn(page, keys.admin);
    for (const [name, path] of [...(await pagesOf(keys.admin)), ...(await viewsOf(keys.admin))]) {
      await visit(page, path);
      found.push(...(await violations(page)).map((one) => `${name}: ${one}`));
    }
    for (const [name, path, open] of await dialogsOf(keys.admin)) {
      await visit(page, path);
      await open(page);
      found.push(...(await violations(page)).map((one) => `${name}: ${one}`));
    }
    assert.deepEqual(found, []);
    assert.deepEqual(faults, []);
    await context.close();
  });
}

test("no page is wider than a screen of 390 pixels, nor than a wide one at 200 percent", async () => {
  for (const viewport of [
    { width: 390, height: 844 },
    { width: 720, height: 450 },
  ]) {
    const { page, context } = await openPage(browser, { viewport });
    await signIn(page, keys.admin);
    const wide = [];
    for (const [name, path] of [...(await pagesOf(keys.admin)), ...(await viewsOf(keys.admin))]) {
      await visit(page, path);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      if (width > viewport.width) wide.push(`${name}: ${width} at ${viewport.width}`);
    }
    assert.deepEqual(wide, []);
    await context.close();
  }
});

test("the page is never cached, its assets are for a year, and the policy allows nothing inline", async () => {
  const page = await fetch(`${url}/s/any/path`);
  assert.equal(page.status, 200);
  assert.equal(page.headers.get("cache-control"), "no-cache");
  assert.ok(page.headers.get("etag"));
  const policy = page.headers.get("content-security-policy");
  assert.equal(
    policy,
    "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
  );
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  assert.equal(page.headers.get("referrer-policy"), "no-referrer");
  const again = await fetch(`${url}/`, { headers: { "if-none-match": page.headers.get("etag") } });
  assert.equal(again.status, 304);
  const [, script] = /src="(\/assets\/[^"]+\.js)"/.exec(await page.text());
  const asset = await fetch(url + script);
  assert.equal(asset.headers.get("cache-control"), "public, max-age=31536000, immutable");
  for (const path of ["/assets/none.js", "/api/none", "/api/v1.0/none"]) {
    const missing = await fetch(url + path);
    assert.equal(missing.status, 404, path);
    assert.match(missing.headers.get("content-type"), /json/, path);
  }
});
