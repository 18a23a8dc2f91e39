// The page of a run: its tasks and what is said about them, and the runs beside it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, base, call, keys, launch, openPage, pipelineOf, signIn, space, visit } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** A failed run, and its task that failed. */
async function failedRun() {
  const { id } = await pipelineOf("stock_check");
  const [run] = await call(keys.viewer, "GET", `${base}/pipelines/${id}/runs?status=failed&size=1`);
  const { tasks } = await call(keys.viewer, "GET", `${base}/runs/${run.id}`);
  return { run, task: tasks.find((one) => one.status === "failed") };
}

test("an editor finds the failed task, comments on it, and changes and deletes the comment", async () => {
  const { page, context, faults } = await openPage(browser);
  const { run, task } = await failedRun();
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/runs/${run.id}`);
  const tasks = page.getByRole("region", { name: "Tasks" });
  const rows = tasks.getByRole("row").filter({ has: page.getByRole("button") });
  assert.ok((await rows.count()) > 1);
  const failed = tasks.getByRole("group", { name: "Show only tasks that are" }).getByRole("button", {
    name: /^Failed/,
  });
  await failed.click();
  await page.waitForFunction(() => document.querySelectorAll(".task-button").length === 1);
  await tasks.getByRole("button", { name: task.name }).click();
  const detail = page.getByRole("region", { name: `Task ${task.name}` });
  await detail.getByText("Comments on the task").waitFor();
  await detail.getByRole("textbox", { name: "New comment" }).fill("The shelf is to be counted again.");
  await detail.getByRole("button", { name: "Comment", exact: true }).click();
  await detail.getByText("The shelf is to be counted again.").waitFor();
  await rows.getByText("1 comment").waitFor({ state: "attached" });
  await detail.getByRole("button", { name: "Edit the comment" }).click();
  await detail.getByRole("textbox", { name: "Comment", exact: true }).fill("The shelf was counted.");
  await detail.getByRole("button", { name: "Save" }).click();
  await detail.getByText("The shelf was counted.").waitFor();
  await detail.getByText(", edited").waitFor();
  const path = `${base}/task-runs/${task.id}/comments`;
  assert.deepEqual(
    (await ask(page, path)).body.map((one) => one.content),
    ["The shelf was counted."],
  );
  await detail.getByRole("button", { name: "Delete the comment" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
  await detail.getByText("The shelf was counted.").waitFor({ state: "detached" });
  assert.deepEqual((await ask(page, path)).body, []);
  await failed.click();
  await page.waitForFunction(() => document.querySelectorAll(".task-button").length > 1);
  assert.deepEqual(faults, []);
  await context.close();
});

test("the newest of many comments are shown, and the earlier ones when they are asked for", async () => {
  const { page, context } = await openPage(browser);
  const { run, task } = await failedRun();
  const path = `${base}/task-runs/${task.id}/comments`;
  const write = (content) => call(keys.editor, "POST", path, { content });
  await write("The first comment");
  for (let batch = 0; batch < 10; batch += 1) {
    await Promise.all(Array.from({ length: 20 }, (_, index) => write(`Comment ${batch * 20 + index}`)));
  }
  await signIn(page, keys.editor);
  await visit(page, `/s/${space}/runs/${run.id}?task_run=${task.id}`);
  const detail = page.getByRole("region", { name: `Task ${task.name}` });
  await detail.getByRole("textbox", { name: "New comment" }).fill("The last comment");
  await detail.getByRole("button", { name: "Comment", exact: true }).click();
  await detail.getByText("The last comment").waitFor();
  assert.equal(await detail.getByText("The first comment").count(), 0);
  await detail.getByRole("button", { name: "Show earlier comments (100)" }).click();
  await detail.getByText("The first comment").waitFor();
  await detail.getByText("The last comment").waitFor();
  await context.close();
});

test("the keys [ and ] go to the runs before and after", async () => {
  const { page, context } = await openPage(browser);
  const { run } = await failedRun();
  await signIn(page, keys.viewer);
  await visit(page, `/s/${space}/runs/${run.id}`);
  const button = (name) => page.getByRole("button", { name, disabled: false });
  await button("Older run").waitFor();
  await page.keyboard.press("[");
  await page.waitForURL((address) => !address.pathname.endsWith(run.id));
  const older = page.url();
  await page.getByRole("heading", { name: /^stock_check, / }).waitFor();
  await button("Newer run").waitFor();
  await page.keyboard.press("]");
  await page.waitForURL((address) => address.href !== older);
  await page.getByRole("heading", { name: /^stock_check, / }).waitFor();
  await context.close();
});
