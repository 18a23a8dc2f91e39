import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { useNow } from "../../../data/clock";
import type { Row } from "../../../drawings/rows";
import { useScrollWindow, useWidth } from "../../../drawings/scroll_window";
import { GridHead, HEAD } from "./GridHead";
import { GridCellPaths, GridLabels } from "./GridRows";
import type { GridModel } from "./grid_model";
import { GridPointer } from "./grid_pointer";
import "./grid.css";

const ROW_HEIGHT = 24;
const CELL_SIZE = 14;

interface GridDrawingProps {
  slug: string;
  model: GridModel;
  rows: readonly Row[];
  toggle: (group: string) => void;
}

/** Tasks by runs. The mouse and the arrow keys move through it without anything being rendered again. */
export function GridDrawing({ slug, model, rows, toggle }: GridDrawingProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const pointer = useMemo(() => new GridPointer(), []);
  const width = useWidth(scroller, Math.min(window.innerWidth, 1100));
  const { geometry, labelWidth } = useMemo(() => layout(width, model), [width, model]);
  const shown = useScrollWindow(scroller, rows.length, ROW_HEIGHT);
  const running = model.runs.some((run) => run.status === "running");
  const now = useNow(running ? 5 : 0);
  const canvas = {
    width: labelWidth + model.runs.length * geometry.columnWidth,
    height: HEAD.height + rows.length * ROW_HEIGHT,
  };
  useElements(scroller, pointer);
  pointer.parts = { slug, model, rows, geometry, labelWidth, toggle };
  useLayoutEffect(() => pointer.settle(), [model, rows, geometry]);
  useNewestInSight(scroller, model);
  const fold = (event: MouseEvent) => {
    const group = (event.target as Element).closest<HTMLElement>("[data-group]")?.dataset.group;
    if (group !== undefined) toggle(group);
  };
  return (
    <div
      class="grid-scroll"
      ref={scroller}
      role="group"
      onClick={fold}
      onKeyDown={(event) => pointer.key(event)}
      aria-label="Grid of tasks and runs. The arrow keys move through it, Enter opens a run, Space opens or folds a group."
      onPointerMove={(event) => pointer.move(event)}
      onPointerLeave={() => pointer.leave()}
    >
      <div class="grid-canvas" style={{ width: `${canvas.width}px`, height: `${canvas.height}px` }}>
        <div class="grid-band" data-part="column" style={{ width: `${geometry.columnWidth}px` }} />
        <div class="grid-band" data-part="row" style={{ height: `${ROW_HEIGHT}px` }} />
        <div class="grid-head" style={{ height: `${HEAD.height}px` }}>
          <GridHead runs={model.runs} columnWidth={geometry.columnWidth} labelWidth={labelWidth} now={now} />
        </div>
        <div class="grid-body">
          <div
            class="grid-labels"
            style={{ width: `${labelWidth}px`, height: `${rows.length * ROW_HEIGHT}px` }}
          >
            <GridLabels model={model} rows={rows} shown={shown} geometry={geometry} />
          </div>
          <GridCellPaths model={model} rows={rows} shown={shown} geometry={geometry} />
        </div>
        <a class="grid-link" data-part="hover" tabIndex={-1} aria-hidden="true" />
        <a class="grid-link grid-cursor" data-part="cursor" tabIndex={0} />
        <span class="hidden-visually" data-part="announcer" aria-live="polite" />
      </div>
    </div>
  );
}

function layout(width: number, model: GridModel) {
  const longest = Math.max(...model.tasks.map((task) => task.task_id.length), 12);
  const most = width < 600 ? 132 : 300;
  const labelWidth = Math.min(most, 60 + longest * 7);
  const free = (width - labelWidth - 16) / Math.max(1, model.runs.length);
  const columnWidth = Math.max(width < 600 ? 24 : 22, Math.min(34, Math.floor(free)));
  return { labelWidth, geometry: { columnWidth, rowHeight: ROW_HEIGHT, cellSize: CELL_SIZE } };
}

type Scroller = { readonly current: HTMLDivElement | null };

function useElements(scroller: Scroller, pointer: GridPointer): void {
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const part = <E extends HTMLElement>(name: string) =>
      element.querySelector<E>(`[data-part="${name}"]`) as E;
    pointer.elements = {
      scroller: element,
      rowBand: part("row"),
      columnBand: part("column"),
      hover: part<HTMLAnchorElement>("hover"),
      cursor: part<HTMLAnchorElement>("cursor"),
      announcer: part("announcer"),
    };
    return () => pointer.leave();
  }, []);
}

/** The newest runs are at the right. A reader who has moved away from them is left there. */
function useNewestInSight(scroller: Scroller, model: GridModel): void {
  const newest = model.runs.at(-1)?.id;
  const left = useRef(false);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    const note = () => (left.current = element.scrollLeft + element.clientWidth < element.scrollWidth - 4);
    element.addEventListener("scroll", note, { passive: true });
    return () => element.removeEventListener("scroll", note);
  }, []);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element !== null && !left.current) element.scrollLeft = element.scrollWidth;
  }, [newest]);
}
