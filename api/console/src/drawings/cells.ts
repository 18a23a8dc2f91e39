// Reads the `cells` of the API's grid: a line per task, a field per run, commas between.

import { addCounts, type StateCount } from "./counts";
import type { StateName } from "./states";

export interface GridCells {
  rows: number;
  columns: number;
  /** By row and column: 0 for no task run, else the state's place in `LETTERS` and one. */
  codes: Uint8Array;
  /** Of cells that stand for several task runs. */
  counts: Map<number, readonly StateCount[]>;
}

const LETTERS: readonly (readonly [letter: string, state: StateName])[] = [
  ["p", "pending"],
  ["c", "scheduled"],
  ["q", "queued"],
  ["r", "running"],
  ["s", "success"],
  ["f", "failed"],
  ["t", "retrying"],
  ["k", "skipped"],
  ["u", "upstream_failed"],
  ["d", "deferred"],
  ["x", "removed"],
  ["n", "unknown"],
];
const CODE_OF_LETTER = new Map(LETTERS.map(([letter], place) => [letter, place + 1]));
const CODE_OF_STATE = new Map(LETTERS.map(([, state], place) => [state, place + 1]));
const UNKNOWN = LETTERS.length;
const COUNT = /(\d+)([a-z])/g;

/** The API's order is the newest run first; drawings read from left to right, the oldest first. */
export function parseCells(
  text: string,
  rows: number,
  columns: number,
  order: "newest first" | "oldest first" = "newest first",
): GridCells {
  const cells: GridCells = { rows, columns, codes: new Uint8Array(rows * columns), counts: new Map() };
  const lines = text.split("\n");
  for (let row = 0; row < rows; row += 1) {
    const fields = (lines[row] ?? "").split(",");
    for (let column = 0; column < columns; column += 1) {
      const field = order === "newest first" ? column : columns - 1 - column;
      setCell(cells, row * columns + column, fields[field] ?? "");
    }
  }
  return cells;
}

function setCell(cells: GridCells, at: number, field: string): void {
  if (field === "") return;
  if (field.length === 1) {
    cells.codes[at] = CODE_OF_LETTER.get(field) ?? UNKNOWN;
    return;
  }
  const counts = parseCounts(field);
  const first = counts[0];
  if (first === undefined) return;
  cells.codes[at] = CODE_OF_STATE.get(first.state) ?? UNKNOWN;
  cells.counts.set(at, counts);
}

/** `18s2f` is two failed and 18 successful task runs: what deserves attention comes first. */
export function parseCounts(field: string): StateCount[] {
  const found = [...field.matchAll(COUNT)];
  return addCounts(
    found.map(([, count, letter]) => {
      const state = stateOfCode(CODE_OF_LETTER.get(letter ?? "") ?? UNKNOWN) ?? "unknown";
      return [{ state, count: Number(count) }];
    }),
  );
}

/**
 * The state of a code in `codes`; null where there is no task run. A letter of a later release reads as
 * unknown.
 */
export function stateOfCode(code: number): StateName | null {
  return LETTERS[code - 1]?.[1] ?? null;
}

export function cellState(cells: GridCells, row: number, column: number): StateName | null {
  return stateOfCode(cells.codes[row * cells.columns + column] ?? 0);
}

/** The task runs behind a cell, also if it is only one. */
export function cellCounts(cells: GridCells, row: number, column: number): readonly StateCount[] {
  const counts = cells.counts.get(row * cells.columns + column);
  if (counts !== undefined) return counts;
  const state = cellState(cells, row, column);
  return state === null ? [] : [{ state, count: 1 }];
}
