// What the grid draws: the answer of the API with its runs the oldest first, and its rows in the order of
// the graph.
import type { Grid, GridTask, RunSummary, TaskNode } from "../../../api/model";
import { counted } from "../../../data/format";
import { cellCounts, cellState, parseCells, type GridCells } from "../../../drawings/cells";
import { countsText, type StateCount } from "../../../drawings/counts";
import { isCounted, rowCounts } from "../../../drawings/grid";
import { graphOrder, groupKeys, layoutRows, type Row } from "../../../drawings/rows";
import { labelOf, type StateName } from "../../../drawings/states";

export interface GridModel {
  tasks: readonly GridTask[];
  runs: readonly RunSummary[];
  cells: GridCells;
  order: readonly number[];
  groups: readonly string[];
}

export function gridModel(grid: Grid, graph: readonly TaskNode[]): GridModel {
  return {
    tasks: grid.tasks,
    runs: [...grid.runs].reverse(),
    cells: parseCells(grid.cells, grid.tasks.length, grid.runs.length, "oldest first"),
    order: graphOrder(grid.tasks, graph),
    groups: groupKeys(grid.tasks),
  };
}

export interface RowFilter {
  /** Every word must be in the task's id. */
  text: string;
  /** Only tasks that failed in one of the runs. */
  failed: boolean;
}

export function gridRows(model: GridModel, folded: ReadonlySet<string>, filter: RowFilter): Row[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0 && !filter.failed) return layoutRows(model.tasks, model.order, folded);
  const order = model.order.filter((place) => {
    const id = model.tasks[place]?.task_id.toLowerCase() ?? "";
    return words.every((word) => id.includes(word)) && (!filter.failed || hasFailed(model.cells, place));
  });
  // What was looked for is shown, not hidden in a group.
  return layoutRows(model.tasks, order, new Set());
}

function hasFailed(cells: GridCells, task: number): boolean {
  for (let column = 0; column < cells.columns; column += 1) {
    const state = cellState(cells, task, column);
    if (state === "failed" || state === "upstream_failed") return true;
  }
  return false;
}

/** Of 40 tasks and more, groups begin folded: a page of rows says more than twenty. */
export function initiallyFolded(model: GridModel): Set<string> {
  return new Set(model.tasks.length > 40 ? model.groups : []);
}

export function shownStates(model: GridModel): Set<StateName> {
  const states = new Set<StateName>();
  for (let row = 0; row < model.cells.rows; row += 1) {
    for (let column = 0; column < model.cells.columns; column += 1) {
      for (const { state } of cellCounts(model.cells, row, column)) states.add(state);
    }
  }
  return states;
}

/** A cell in words: "Failed", or "2 failed, 18 success" where several task runs stand behind it. */
export function cellText(row: Row, cells: GridCells, column: number): string {
  const counts: readonly StateCount[] = rowCounts(row, cells, column);
  const first = counts[0];
  if (first === undefined) return "No task run";
  return isCounted(row, cells, column) ? countsText(counts) : labelOf(first.state);
}

export function taskCountText(model: GridModel): string {
  return counted(model.tasks.length, "task", "tasks");
}
