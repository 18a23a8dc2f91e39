// Takes a picture of every page, wide and narrow, light and dark, into the folder that is the first argument; with
// further arguments, only of the pages with these names. Needs the variables that the tests get.
import { mkdirSync } from "node:fs";
import {
  base,
  dialogsOf,
  keys,
  launch,
  openPage,
  pagesOf,
  signIn,
  space,
  url,
  viewsOf,
  visit,
} from "./browser.mjs";

const [folder = "pictures", ...only] = process.argv.slice(2);
// Only the rows in view are in the document, so a picture of the whole page would show a gap.
const lists = ["pipelines", "runs"];
const sizes = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };
const isWanted = (name) => only.length === 0 || only.includes(name);

mkdirSync(folder, { recursive: true });
const browser = await launch();
for (const colorScheme of ["light", "dark"]) {
  for (const [size, viewport] of Object.entries(sizes)) {
    const { page, context } = await openPage(browser, { viewport, colorScheme });
    const pathOf = (name) => `${folder}/${name}-${size}-${colorScheme}.png`;
    const take = (name) => page.screenshot({ path: pathOf(name), fullPage: !lists.includes(name) });
    await page.goto(`${url}/sign-in`);
    await page.getByLabel("API key").waitFor();
    if (isWanted("sign-in")) await take("sign-in");
    await signIn(page, keys.admin);
    const pages = [...(await pagesOf(keys.admin)), ...(await viewsOf(keys.admin))];
    for (const [name, path] of pages.filter(([name]) => isWanted(name))) {
      await visit(page, path);
      // Drawings are measured after the page is there.
      await page.waitForTimeout(400);
      await take(name);
    }
    const dialogs = await dialogsOf(keys.admin);
    for (const [name, path, open] of dialogs.filter(([name]) => isWanted(name))) {
      await visit(page, path);
      await open(page);
      await page.screenshot({ path: pathOf(name) });
    }
    if (isWanted("failed")) {
      await page.route(`**${base}/incidents?*`, (route) =>
        route.fulfill({ status: 500, json: { detail: "Something went wrong here." } }),
      );
      await visit(page, `/s/${space}/incidents`);
      await take("failed");
    }
    await context.close();
  }
}
await browser.close();
