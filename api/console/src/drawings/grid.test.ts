import { expect, test } from "vitest";
import { parseCells } from "./cells";
import { cellAt, gridCounts, gridPaths, moveCell, rowCounts, rowState, shortCount } from "./grid";
import { layoutRows } from "./rows";

const geometry = { columnWidth: 20, rowHeight: 24, cellSize: 14 };

function wholeGrid(tasks: number, runs: number) {
  const names = Array.from({ length: tasks }, (_, n) => ({ task_id: `group_${n % 20}.task_${n}` }));
  const line = (task: number) =>
    Array.from({ length: runs }, (_, run) =>
      task % 97 === run ? "f" : task % 97 === run + 1 ? "u" : "s",
    ).join(",");
  const cells = parseCells(names.map((_, task) => line(task)).join("\n"), tasks, runs);
  return {
    rows: layoutRows(
      names,
      names.map((_, n) => n),
      new Set(),
    ),
    cells,
  };
}

test("2,000 tasks and 28 runs are at most one path per state and column", () => {
  const { rows, cells } = wholeGrid(2000, 28);
  const paths = gridPaths(rows, cells, 0, rows.length, geometry);
  expect(rows.length).toBe(2020);
  expect(paths.length).toBeLessThanOrEqual(28 * 3);
  expect(new Set(paths.map((path) => `${path.column} ${path.state}`)).size).toBe(paths.length);
});

test("only rows of the window are drawn", () => {
  const { rows, cells } = wholeGrid(100, 2);
  const drawn = gridPaths(rows, cells, 10, 12, geometry)
    .map((path) => path.d)
    .join("");
  expect(drawn.match(/M/g)?.length).toBe(4);
});

test("a group shows what deserves attention of its tasks, and counts them", () => {
  const tasks = ["g.a", "g.b", "g.c"].map((task_id) => ({ task_id }));
  const cells = parseCells("s,s\nf,\n3s2r,", 3, 2);
  const [group] = layoutRows(tasks, [0, 1, 2], new Set(["g"]));
  if (group === undefined) throw new Error("no rows");
  expect(rowState(group, cells, 0)).toBe("failed");
  expect(rowCounts(group, cells, 0)).toEqual([
    { state: "failed", count: 1 },
    { state: "running", count: 2 },
    { state: "success", count: 4 },
  ]);
  expect(rowState(group, cells, 1)).toBe("success");
  expect(gridCounts([group], cells, 0, 1).map((mark) => mark.text)).toEqual(["1", "1"]);
});

test("failed and upstream failed have different outlines", () => {
  const cells = parseCells("f,u", 1, 2);
  const rows = layoutRows([{ task_id: "a" }], [0], new Set());
  const [failed, upstream] = gridPaths(rows, cells, 0, 1, { columnWidth: 0, rowHeight: 24, cellSize: 14 });
  expect(failed?.d).not.toBe(upstream?.d);
});

test("a point finds its cell, and points outside find none", () => {
  expect(cellAt(25, 30, 10, 4, geometry)).toEqual({ row: 1, column: 1 });
  expect(cellAt(80, 0, 10, 4, geometry)).toBeNull();
  expect(cellAt(-1, 0, 10, 4, geometry)).toBeNull();
  expect(cellAt(0, 240, 10, 4, geometry)).toBeNull();
});

test("arrow keys move by a cell and stop at the edges", () => {
  const at = { row: 0, column: 2 };
  expect(moveCell(at, "ArrowDown", false, 3, 3)).toEqual({ row: 1, column: 2 });
  expect(moveCell(at, "ArrowUp", false, 3, 3)).toEqual(at);
  expect(moveCell(at, "ArrowRight", false, 3, 3)).toEqual(at);
  expect(moveCell(at, "Home", false, 3, 3)).toEqual({ row: 0, column: 0 });
  expect(moveCell(at, "End", true, 3, 3)).toEqual({ row: 2, column: 2 });
  expect(moveCell(at, "x", false, 3, 3)).toBeNull();
  expect(moveCell(at, "ArrowDown", false, 0, 0)).toBeNull();
});

test("counts fit into a cell", () => {
  expect([7, 999, 1000, 5049, 12_345].map(shortCount)).toEqual(["7", "999", "1k", "5k", "12k"]);
});
