// Debian's Chromium, and what every browser test does with it.
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const url = process.env.CONSOLE_URL;
export const space = process.env.CONSOLE_SPACE;
export const base = `/api/v1.0/spaces/${space}/orchestration`;
export const keys = {
  admin: process.env.CONSOLE_ADMIN_KEY,
  editor: process.env.CONSOLE_EDITOR_KEY,
  viewer: process.env.CONSOLE_VIEWER_KEY,
  leaver: process.env.CONSOLE_LEAVER_KEY,
};

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
}

/** A page that records what must not happen: requests to elsewhere, violations of the policy, errors. */
export async function openPage(browser, options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    reducedMotion: "reduce",
    ...options,
  });
  const page = await context.newPage();
  const faults = [];
  const origin = new URL(url).origin;
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== origin) faults.push(`a request to ${request.url()}`);
  });
  page.on("pageerror", (error) => faults.push(`an error: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text())) faults.push(message.text());
  });
  return { page, context, faults };
}

/** `address` is that of another API than the one of most tests. */
export async function signIn(page, key, address = url) {
  await page.goto(`${address}/sign-in`);
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Sign in" }).click();
  // On a small screen the navigation is behind a button.
  await page.locator('nav[aria-label="Space"]').waitFor({ state: "attached" });
}

/** Goes to a page of the console and waits until nothing is loading. */
export async function visit(page, path, address = url) {
  await page.goto(address + path);
  await page.locator("h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector(".skeleton"));
}

/** What axe finds on the page as it is. */
export async function violations(page) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.map(
    ({ id, nodes }) =>
      `${id}: ${nodes
        .map((node) => node.target.join(" "))
        .slice(0, 3)
        .join(", ")}`,
  );
}

/** Asks the API as the page does, with the session's cookie. */
export function ask(page, path, init = {}) {
  return page.evaluate(
    async ([path, init]) => {
      const response = await fetch(path, init);
      const text = await response.text();
      return { status: response.status, body: text ? JSON.parse(text) : null };
    },
    [path, init],
  );
}

/** Sends a request with a key, outside of any browser. */
export async function call(key, method, path, body) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const response = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

/** The pipeline of this name. */
export async function pipelineOf(name) {
  const found = await call(keys.viewer, "GET", `${base}/pipelines?q=${name}`);
  return found.find((one) => one.name === name);
}

/** The views of pages besides their first, and the pages that have nothing to show. */
export async function viewsOf(key) {
  const [{ id }] = await call(key, "GET", `${base}/pipelines?q=customer_segments&size=1`);
  return [
    ...["graph", "durations", "runs"].map((view) => [
      `pipeline-${view}`,
      `/s/${space}/pipelines/${id}?view=${view}`,
    ]),
    ["empty-now", "/s/empty"],
    ["empty-pipelines", "/s/empty/pipelines"],
    ["empty-connectors", "/s/empty/connectors"],
    ["no-access", "/s/elsewhere"],
    ["no-page", `/s/${space}/nothing`],
  ];
}

/** The dialogs, by name, each with its page and how it is opened there. */
export async function dialogsOf(key) {
  const [{ id }] = await call(key, "GET", `${base}/pipelines?q=train_model&size=1`);
  const press = (name, awaited) => async (page) => {
    await page.getByRole("button", { name, exact: true }).first().click();
    await page.getByRole("dialog").getByLabel(awaited, { exact: true }).waitFor({ timeout: 60_000 });
  };
  return [
    ["trigger", `/s/${space}/pipelines/${id}`, press("Trigger", "epochs")],
    ["new-channel", `/s/${space}/notifications`, press("New channel", "Name")],
    ["new-rule", `/s/${space}/notifications`, press("New rule", "Report to")],
    ["new-member", `/s/${space}/people`, press("Add a member", "Name or e-mail address")],
    ["new-team", `/s/${space}/people`, press("New team", "Name")],
    ["new-key", "/account", press("New key", "Label")],
  ];
}

/** The pages of the space, by name: of a pipeline with many kinds of runs, and of a run that failed. */
export async function pagesOf(key) {
  const first = async (path) => (await call(key, "GET", path))[0]?.id;
  const pipeline = await first(`${base}/pipelines?q=customer_segments&size=1`);
  const run = await first(`${base}/runs?status=failed&size=1`);
  const incident = await first(`${base}/incidents?size=1`);
  const connector = await first(`/api/v1.0/catalog/spaces/${space}/connectors`);
  // Only admins read channels.
  const channel = key === keys.admin ? await first(`${base}/notifications/channels`) : null;
  return [
    ["now", `/s/${space}`],
    ["incidents", `/s/${space}/incidents`],
    ...(incident ? [["incident", `/s/${space}/incidents/${incident}`]] : []),
    ["pipelines", `/s/${space}/pipelines`],
    ["pipeline", `/s/${space}/pipelines/${pipeline}`],
    ["runs", `/s/${space}/runs`],
    ["run", `/s/${space}/runs/${run}`],
    ["connectors", `/s/${space}/connectors`],
    ["connector", `/s/${space}/connectors/${connector}`],
    ["new-connector", `/s/${space}/connectors/new`],
    ...(channel
      ? [
          ["notifications", `/s/${space}/notifications`],
          ["channel", `/s/${space}/notifications/${channel}`],
        ]
      : []),
    ["people", `/s/${space}/people`],
    ["audit", `/s/${space}/audit`],
    ["inbox", "/inbox"],
    ["account", "/account"],
  ];
}
