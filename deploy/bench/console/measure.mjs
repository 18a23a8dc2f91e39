// Measures pages of the console and of Airflow's user interface in one Chromium, in turns. Reads what to measure from
// the standard input as JSON, and writes the results to the standard output; progress goes to the standard error.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(`${process.env.CONSOLE_SOURCES}/package.json`);
const { chromium } = require("playwright-core");

const TURNS = 5;
const POINTS = 40;
const CLICKS = 12;
const PAGE_TIMEOUT = 120_000;
const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];

const { console: ours, airflow, seconds } = JSON.parse(await text(process.stdin));

// A page is there when the first of these is on the screen: a row with data, or a cell.
const pages = [
  {
    name: "list of pipelines",
    console: { path: ours.list, picture: ".name-link", hover: ".pipeline-row", click: ".watch, .name-link" },
    airflow: {
      path: airflow.list, picture: "[data-testid='card-list'] a[href^='/dags/']",
      hover: "[data-testid='card-list'] > div", click: "[data-testid='card-list'] a[href^='/dags/']",
    },
  },
  {
    name: "grid",
    console: { path: ours.grid, picture: ".grid-paths path", hover: ".grid-paths", click: ".grid-paths" },
    airflow: {
      path: airflow.grid, picture: "a[href*='/runs/'][href*='/tasks/']", hover: "a[href*='/runs/'][href*='/tasks/']",
      click: "a[href*='/runs/'][href*='/tasks/']",
    },
  },
  {
    name: "run of mapped tasks",
    console: { path: ours.run, picture: ".task-rows .task-row", hover: ".task-rows", click: ".task-rows .task-row" },
    airflow: null,
  },
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: FLAGS });

async function contextOf(signIn) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  context.setDefaultTimeout(PAGE_TIMEOUT);
  await signIn(context);
  return context;
}

const toConsole = await contextOf(async (context) => {
  const signedIn = await context.request.post(`${ours.url}/api/v1.0/session`, {
    data: { key: ours.key },
    headers: { origin: ours.url },
  });
  if (!signedIn.ok()) throw new Error(`the key is refused: ${await signedIn.text()}`);
});
const toAirflow = await contextOf(async (context) => {
  const page = await context.newPage();
  await page.goto(`${airflow.url}/auth/login`);
  await page.locator("input[name=username]").fill(airflow.username);
  await page.locator("input[name=password]").fill(airflow.password);
  await page.keyboard.press("Enter");
  await page.locator("[data-testid='nav-dags-link']").waitFor();
  await page.close();
});

// Runs in the page before its own scripts: notes when the picture was painted, and how long each event took until
// the next frame after it.
function observe(picture) {
  window.bench = { picture: null, events: 0, slow: [] };
  const look = () => {
    if (document.querySelector(picture) === null) return requestAnimationFrame(look);
    // The second frame begins after the first one was painted.
    requestAnimationFrame(() => requestAnimationFrame(() => (window.bench.picture = performance.now())));
  };
  requestAnimationFrame(look);
  window.benchNextFrame = () =>
    new Promise((done) => {
      const start = performance.now();
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    });
}

async function open(context, root, target) {
  const page = await context.newPage();
  await page.addInitScript(observe, target.picture);
  await page.goto(root + target.path, { waitUntil: "commit" });
  const limits = { timeout: PAGE_TIMEOUT, polling: 50 };
  const seen = await page.waitForFunction(() => window.bench?.picture, undefined, limits).catch(async (error) => {
    const text = await page.evaluate(() => document.body.innerText.slice(0, 300));
    throw new Error(`${page.url()} does not show ${target.picture}, but: ${text}`, { cause: error });
  });
  return { page, firstPicture: await seen.jsonValue() };
}

/** From the input until the frame after it, as the browser's own event timing counts it. */
async function interactions(page, type, act, count) {
  await page.evaluate((type) => {
    window.benchTimes = [];
    window.benchListener?.disconnect();
    window.benchListener = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (entry.name === type) window.benchTimes.push(entry.duration);
    });
    window.benchListener.observe({ type: "event", durationThreshold: 16 });
    window.benchFrames = [];
    document.addEventListener(type, () => void window.benchNextFrame().then((ms) => window.benchFrames.push(ms)), true);
  }, type);
  for (let n = 0; n < count; n += 1) {
    await act(n);
    await page.waitForTimeout(60);
  }
  await page.waitForTimeout(300);
  // Events below the threshold of the event timing are not in it; the frames after them are.
  const times = await page.evaluate(() => [window.benchTimes, window.benchFrames]);
  const [slow, frames] = times;
  return [...slow, ...frames];
}

async function hover(page, selector) {
  const boxes = await boxesOf(page, selector);
  return interactions(page, "pointermove", (n) => {
    const box = boxes[n % boxes.length];
    // Over a large drawing the points are spread; over many small ones they are their middles.
    const [x, y] = boxes.length === 1 ? [((n * 7) % 19) / 20, ((n * 5) % 17) / 18] : [0.5, 0.5];
    return page.mouse.move(box.x + 4 + x * (box.width - 8), box.y + 2 + y * (box.height - 4));
  }, POINTS);
}

/** Parts of the elements that are inside the window. */
async function boxesOf(page, selector) {
  return page.evaluate((selector) => {
    const boxes = [...document.querySelectorAll(selector)].map((element) => element.getBoundingClientRect());
    const inside = boxes.map((box) => {
      const [left, top] = [Math.max(box.left, 0), Math.max(box.top, 150)];
      const [right, bottom] = [Math.min(box.right, innerWidth), Math.min(box.bottom, innerHeight)];
      return { x: left, y: top, width: right - left, height: bottom - top };
    });
    return inside.filter((box) => box.width > 6 && box.height > 6).slice(0, 40);
  }, selector);
}

/** A click opens something; the page is gone back to before the next one. */
async function click(context, root, target) {
  const times = [];
  for (let n = 0; n < CLICKS; n += 1) {
    const { page } = await open(context, root, target);
    const boxes = await boxesOf(page, target.click);
    const box = boxes[n % boxes.length];
    const [x, y] = boxes.length === 1 ? [((n * 7) % 19) / 20, ((n * 5) % 17) / 18] : [0.5, 0.5];
    const at = [box.x + 4 + x * (box.width - 8), box.y + 2 + y * (box.height - 4)];
    await page.mouse.move(...at);
    times.push(...(await interactions(page, "click", () => page.mouse.click(...at), 1)));
    await page.close();
  }
  return times;
}

const nodes = (page) =>
  page.evaluate(() => {
    const all = [...document.querySelectorAll("body *")];
    const isText = (element) =>
      ["SPAN", "TEXT", "TITLE", "B", "STRONG", "TIME", "CODE", "TSPAN"].includes(element.tagName.toUpperCase()) &&
      element.childElementCount === 0;
    return { nodes: all.length, nodes_beside_text: all.filter((element) => !isText(element)).length };
  });

const quantile = (values, share) => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
};

async function measure(page) {
  const sides = [{ side: "console", context: toConsole, root: ours.url, target: page.console }];
  if (page.airflow !== null) sides.push({ side: "airflow", context: toAirflow, root: airflow.url, target: page.airflow });
  const pictures = { console: [], airflow: [] };
  // Both are measured in turn, since the speed of a machine varies. The first turn fills the browser's cache.
  for (let turn = 0; turn <= TURNS; turn += 1) {
    for (const { side, context, root, target } of sides) {
      const opened = await open(context, root, target);
      if (turn > 0) pictures[side].push(opened.firstPicture);
      await opened.page.close();
    }
  }
  const result = { name: page.name, airflow: null };
  for (const { side, context, root, target } of sides) {
    process.stderr.write(`${page.name}: ${side}\n`);
    const { page: opened } = await open(context, root, target);
    await opened.waitForTimeout(1000);
    const counted = await nodes(opened);
    const hovered = await hover(opened, target.hover);
    await opened.close();
    const clicked = await click(context, root, target);
    result[side] = {
      first_picture: quantile(pictures[side], 0.5),
      ...counted,
      hover_p95: quantile(hovered, 0.95),
      click_p95: quantile(clicked, 0.95),
    };
  }
  return result;
}

/** The share of the time in which the main thread of a page is busy while events arrive. */
async function busy({ name, console: target }) {
  const { page } = await open(toConsole, ours.url, target);
  const session = await toConsole.newCDPSession(page);
  await session.send("Performance.enable");
  let events = 0;
  await session.send("Network.enable");
  session.on("Network.dataReceived", () => (events += 1));
  await page.waitForTimeout(2000);
  const taskSeconds = async () => {
    const { metrics } = await session.send("Performance.getMetrics");
    const value = (metric) => metrics.find((one) => one.name === metric)?.value ?? 0;
    return { busy: value("TaskDuration"), at: value("Timestamp") };
  };
  events = 0;
  const before = await taskSeconds();
  await page.waitForTimeout(seconds * 1000);
  const after = await taskSeconds();
  const seen = events;
  await page.close();
  return { name, percent: ((after.busy - before.busy) / (after.at - before.at)) * 100, events: seen };
}

const measured = { pages: [], busy: [] };
for (const page of pages) measured.pages.push(await measure(page));
for (const page of pages) measured.busy.push(await busy(page));
await browser.close();
process.stdout.write(JSON.stringify(measured));
