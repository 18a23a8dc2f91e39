// Pointer and keys on the grid. Nothing is rendered for them: highlights and links are moved by transforms.
import { paths } from "../../../app/paths";
import type { RunSummary } from "../../../api/model";
import { duration, exact } from "../../../data/format";
import { runTime } from "../../../data/run_times";
import { runTypeLabel } from "../../../data/run_types";
import {
  cellAt,
  moveCell,
  rowCounts,
  rowState,
  type CellAt,
  type GridGeometry,
} from "../../../drawings/grid";
import type { Row } from "../../../drawings/rows";
import { labelOf, stateOf } from "../../../drawings/states";
import { hideTip, showTip, type Tip } from "../../../drawings/tip";
import { HEAD } from "./GridHead";
import { cellText, type GridModel } from "./grid_model";

/** The row of the runs themselves, above the tasks. */
const RUN_ROW = -1;

export interface GridParts {
  slug: string;
  model: GridModel;
  rows: readonly Row[];
  geometry: GridGeometry;
  labelWidth: number;
  /** Opens or folds a group. */
  toggle: (group: string) => void;
}

export interface GridElements {
  scroller: HTMLElement;
  rowBand: HTMLElement;
  columnBand: HTMLElement;
  /** The link under the mouse, and the one that the keyboard moves. */
  hover: HTMLAnchorElement;
  cursor: HTMLAnchorElement;
  announcer: HTMLElement;
}

export class GridPointer {
  parts: GridParts | null = null;
  elements: GridElements | null = null;
  private at: CellAt | null = null;
  private focus: CellAt | null = null;
  private tip: Tip | null = null;

  move(event: PointerEvent): void {
    const at = this.cellUnder(event);
    if (at === null) return this.leave();
    if (this.at?.row !== at.row || this.at.column !== at.column) {
      this.at = at;
      this.tip = this.describe(at);
      this.highlight(at);
    }
    if (this.tip !== null) showTip(this.tip, event.clientX, event.clientY);
  }

  leave(): void {
    if (this.at === null) return;
    this.at = null;
    hideTip();
    for (const element of this.moving()) show(element, false);
  }

  /** After rows or runs have changed, the cursor stays in the grid. */
  settle(): void {
    const parts = this.parts;
    if (parts === null || parts.model.runs.length === 0) return;
    const last = parts.model.runs.length - 1;
    const at = this.focus ?? { row: RUN_ROW, column: last };
    this.focus = { row: Math.min(at.row, parts.rows.length - 1), column: Math.min(at.column, last) };
    this.placeCursor(this.focus, false);
  }

  key(event: KeyboardEvent): void {
    const parts = this.parts;
    if (parts === null || this.focus === null) return;
    if (event.key === " ") return this.toggleGroup(event);
    // The row of the runs counts as the first one.
    const from = { row: this.focus.row + 1, column: this.focus.column };
    const to = moveCell(
      from,
      event.key,
      event.ctrlKey || event.metaKey,
      parts.rows.length + 1,
      parts.model.runs.length,
    );
    if (to === null) return;
    event.preventDefault();
    this.focus = { row: to.row - 1, column: to.column };
    this.placeCursor(this.focus, true);
  }

  /** A button opens or folds its own group. */
  private toggleGroup(event: KeyboardEvent): void {
    const row = this.parts?.rows[this.focus?.row ?? RUN_ROW];
    if (row?.kind !== "group" || (event.target as Element).closest("button")) return;
    event.preventDefault();
    this.parts?.toggle(row.key);
  }

  private cellUnder(event: PointerEvent): CellAt | null {
    const { parts, elements } = this;
    if (parts === null || elements === null) return null;
    const box = elements.scroller.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    if (left < parts.labelWidth || top < 0) return null;
    const x = left + elements.scroller.scrollLeft - parts.labelWidth;
    const column = Math.floor(x / parts.geometry.columnWidth);
    if (top < HEAD.height) return column < parts.model.runs.length ? { row: RUN_ROW, column } : null;
    const y = top + elements.scroller.scrollTop - HEAD.height;
    return cellAt(x, y, parts.rows.length, parts.model.runs.length, parts.geometry);
  }

  private highlight(at: CellAt): void {
    const { parts, elements } = this;
    if (parts === null || elements === null) return;
    const { columnWidth, rowHeight } = parts.geometry;
    const x = parts.labelWidth + at.column * columnWidth;
    elements.columnBand.style.transform = `translateX(${x}px)`;
    elements.rowBand.style.transform = `translateY(${HEAD.height + at.row * rowHeight}px)`;
    this.placeLink(elements.hover, at);
    show(elements.columnBand, true);
    show(elements.rowBand, at.row !== RUN_ROW);
    show(elements.hover, true);
  }

  private placeLink(link: HTMLAnchorElement, at: CellAt): void {
    const { parts, elements } = this;
    const run = parts?.model.runs[at.column];
    if (parts === null || elements === null || run === undefined) return;
    const { columnWidth, rowHeight } = parts.geometry;
    const x = parts.labelWidth + at.column * columnWidth;
    // The row of the runs stays in sight, so its link has to move with the scroll position.
    const y = at.row === RUN_ROW ? elements.scroller.scrollTop : HEAD.height + at.row * rowHeight;
    link.style.transform = `translate(${x}px, ${y}px)`;
    link.style.width = `${columnWidth}px`;
    link.style.height = `${at.row === RUN_ROW ? HEAD.height : rowHeight}px`;
    const row = parts.rows[at.row];
    const task = row === undefined ? "" : `?task=${encodeURIComponent(row.key)}`;
    link.href = paths.run(parts.slug, run.id) + task;
  }

  private placeCursor(at: CellAt, focus: boolean): void {
    const { parts, elements } = this;
    if (parts === null || elements === null) return;
    if (focus) this.scrollTo(at);
    this.placeLink(elements.cursor, at);
    const text = this.sentence(at);
    elements.cursor.ariaLabel = text;
    if (focus) {
      elements.announcer.textContent = text;
      elements.cursor.focus({ preventScroll: true });
    }
  }

  private scrollTo(at: CellAt): void {
    const { parts, elements } = this;
    if (parts === null || elements === null) return;
    const { scroller } = elements;
    const { columnWidth, rowHeight } = parts.geometry;
    const left = at.column * columnWidth;
    const room = scroller.clientWidth - parts.labelWidth;
    if (left < scroller.scrollLeft) scroller.scrollLeft = left;
    else if (left + columnWidth > scroller.scrollLeft + room) scroller.scrollLeft = left + columnWidth - room;
    if (at.row === RUN_ROW) return;
    const top = at.row * rowHeight;
    const height = scroller.clientHeight - HEAD.height;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + rowHeight > scroller.scrollTop + height) scroller.scrollTop = top + rowHeight - height;
  }

  private describe(at: CellAt): Tip | null {
    const parts = this.parts;
    const run = parts?.model.runs[at.column];
    if (parts === null || run === undefined) return null;
    const row = parts.rows[at.row];
    if (row === undefined) {
      return { state: stateOf(run.status), title: labelOf(run.status), lines: runLines(run) };
    }
    const state = rowState(row, parts.model.cells, at.column);
    const lines = [cellText(row, parts.model.cells, at.column), `Run of ${runName(run)}`];
    if (rowCounts(row, parts.model.cells, at.column).length === 0) return { title: row.key, lines };
    return { state: state ?? "unknown", title: row.key, lines };
  }

  private sentence(at: CellAt): string {
    const tip = this.describe(at);
    return tip === null ? "" : [tip.title, ...(tip.lines ?? [])].join(", ");
  }

  private moving(): HTMLElement[] {
    const elements = this.elements;
    return elements === null ? [] : [elements.rowBand, elements.columnBand, elements.hover];
  }
}

/** An attribute that is written computes styles anew, also with its old value. */
function show(element: HTMLElement, isShown: boolean): void {
  const text = String(isShown);
  if (element.dataset.shown !== text) element.dataset.shown = text;
}

function runName(run: RunSummary): string {
  const at = runTime(run);
  return at === null ? run.external_id : exact(at);
}

function runLines(run: RunSummary): string[] {
  const lines = [`Run of ${runName(run)}`, runTypeLabel(run.run_type)];
  if (run.duration_seconds !== null) lines.push(`Took ${duration(run.duration_seconds)}`);
  return lines;
}
