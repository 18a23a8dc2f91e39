// Lays out a grid of tasks and runs: few paths for many cells, and what lies under a point.

import { cellCounts, cellState, stateOfCode, type GridCells } from "./cells";
import type { Row } from "./rows";
import { addCounts, attentionRank, type StateCount } from "./counts";
import { roundedPath } from "./outlines";
import { shapePath, states, type StateName } from "./states";

export interface GridGeometry {
  columnWidth: number;
  rowHeight: number;
  /** The side of a cell's shape, which is centred. */
  cellSize: number;
}

/** Half the size of the shape before a count: the colour of the frame alone would not tell the state. */
const MARK = 3;

export interface StatePath {
  column: number;
  state: StateName;
  d: string;
}

export interface CountMark {
  row: number;
  column: number;
  state: StateName;
  text: string;
}

/** One path per state and column, of the rows from `from` to before `to`. */
export function gridPaths(
  rows: readonly Row[],
  cells: GridCells,
  from: number,
  to: number,
  g: GridGeometry,
): StatePath[] {
  const paths: StatePath[] = [];
  for (let column = 0; column < cells.columns; column += 1) {
    const parts = new Map<StateName, string[]>();
    for (let place = from; place < Math.min(to, rows.length); place += 1) {
      const row = rows[place];
      const state = row === undefined ? null : rowState(row, cells, column);
      if (row === undefined || state === null) continue;
      const d = cellPath(row, cells, place, column, state, g);
      const list = parts.get(state);
      if (list === undefined) parts.set(state, [d]);
      else list.push(d);
    }
    for (const [state, list] of parts) paths.push({ column, state, d: list.join("") });
  }
  return paths;
}

/** What stands in cells of several task runs: how many have the state that deserves attention. */
export function gridCounts(rows: readonly Row[], cells: GridCells, from: number, to: number): CountMark[] {
  const marks: CountMark[] = [];
  for (let place = from; place < Math.min(to, rows.length); place += 1) {
    const row = rows[place];
    if (row === undefined) continue;
    for (let column = 0; column < cells.columns; column += 1) {
      const first = isCounted(row, cells, column) ? rowCounts(row, cells, column)[0] : undefined;
      if (first === undefined) continue;
      marks.push({ row: place, column, state: first.state, text: shortCount(first.count) });
    }
  }
  return marks;
}

export function shortCount(count: number): string {
  if (count < 1000) return String(count);
  return count < 10_000 ? `${(Math.floor(count / 100) / 10).toString()}k` : `${Math.floor(count / 1000)}k`;
}

export function rowState(row: Row, cells: GridCells, column: number): StateName | null {
  if (row.kind === "task") return cellState(cells, row.task, column);
  let worst: StateName | null = null;
  for (const task of row.tasks) {
    const state = stateOfCode(cells.codes[task * cells.columns + column] ?? 0);
    if (state !== null && (worst === null || attentionRank(state) < attentionRank(worst))) worst = state;
  }
  return worst;
}

export function rowCounts(row: Row, cells: GridCells, column: number): readonly StateCount[] {
  if (row.kind === "task") return cellCounts(cells, row.task, column);
  return addCounts(row.tasks.map((task) => cellCounts(cells, task, column)));
}

export function isCounted(row: Row, cells: GridCells, column: number): boolean {
  return row.kind === "group" || cells.counts.has(row.task * cells.columns + column);
}

function cellPath(
  row: Row,
  cells: GridCells,
  place: number,
  column: number,
  state: StateName,
  g: GridGeometry,
): string {
  const x = (column + 0.5) * g.columnWidth;
  const y = (place + 0.5) * g.rowHeight;
  if (!isCounted(row, cells, column)) return shapePath(states[state].shape, x, y, g.cellSize / 2);
  // A count needs room for its text: a frame that is as wide as the column.
  const [left, top] = [column * g.columnWidth + 1, y - g.cellSize / 2 - 1];
  const [width, height] = [g.columnWidth - 2, g.cellSize + 2];
  const frame =
    roundedPath(left, top, width, height, 3) +
    roundedPath(left + 1.2, top + 1.2, width - 2.4, height - 2.4, 2);
  return state === "success" ? frame : frame + shapePath(states[state].shape, left + MARK + 3, y, MARK);
}

export interface CellAt {
  row: number;
  column: number;
}

export function cellAt(x: number, y: number, rows: number, columns: number, g: GridGeometry): CellAt | null {
  const column = Math.floor(x / g.columnWidth);
  const row = Math.floor(y / g.rowHeight);
  return column >= 0 && column < columns && row >= 0 && row < rows ? { row, column } : null;
}

/** Where an arrow key leads, and the first and last cells of a row or of the whole grid. */
export function moveCell(
  at: CellAt,
  key: string,
  all: boolean,
  rows: number,
  columns: number,
): CellAt | null {
  const steps: Record<string, CellAt> = {
    ArrowUp: { row: at.row - 1, column: at.column },
    ArrowDown: { row: at.row + 1, column: at.column },
    ArrowLeft: { row: at.row, column: at.column - 1 },
    ArrowRight: { row: at.row, column: at.column + 1 },
    PageUp: { row: at.row - 20, column: at.column },
    PageDown: { row: at.row + 20, column: at.column },
    Home: { row: all ? 0 : at.row, column: 0 },
    End: { row: all ? rows - 1 : at.row, column: columns - 1 },
  };
  const to = steps[key];
  if (to === undefined || rows === 0 || columns === 0) return null;
  return { row: clamp(to.row, rows - 1), column: clamp(to.column, columns - 1) };
}

function clamp(value: number, last: number): number {
  return Math.max(0, Math.min(last, value));
}
