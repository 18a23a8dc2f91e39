import type { RefObject } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { Icon } from "../../../components/Icon";
import { StateLabel, StateShape } from "../../../components/State";
import { counted, duration, moment } from "../../../data/format";
import { countsText } from "../../../drawings/counts";
import type { GanttBar, GanttRange } from "../../../drawings/gantt";
import { useScrollWindow, useWidth } from "../../../drawings/scroll_window";
import type { RowWindow } from "../../../drawings/window";
import { GanttColumn, GanttAxis } from "./GanttColumn";
import type { TaskLine } from "./task_rows";

export const ROW_HEIGHT = 30;
const HEAD_HEIGHT = 32;

interface TaskTableProps {
  lines: readonly TaskLine[];
  range: GanttRange;
  now: number;
  selected: string | null;
  select: (taskRunId: string) => void;
  toggle: (key: string) => void;
}

/** Only the rows in sight are in the document. The arrow keys move, Enter opens. */
export function TaskTable({ lines, range, now, selected, select, toggle }: TaskTableProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const axis = useRef<HTMLDivElement>(null);
  const ganttWidth = useWidth(axis, 320);
  // Names stand in one line, whether or not a mark for opening stands before them.
  const indent = useMemo(() => (lines.some((line) => line.open !== null) ? 18 : 0), [lines]);
  const shown = useScrollWindow(scroller, lines.length, ROW_HEIGHT);
  const focus = useRowFocus(scroller, lines, toggle);
  const act = (event: MouseEvent) => {
    const place = (event.target as Element).closest<HTMLElement>("[data-place]")?.dataset.place;
    const line = place === undefined ? undefined : lines[Number(place)];
    if (line === undefined) return;
    focus.set(Number(place));
    if (line.task === null) toggle(line.key);
    else select(line.task.id);
  };
  return (
    <div class="task-scroll" ref={scroller} onClick={act} onKeyDown={focus.key}>
      <div class="task-table" role="table" aria-label="Tasks of the run" aria-rowcount={lines.length + 1}>
        <Head indent={indent} range={range} width={ganttWidth} axis={axis} />
        <div class="task-rows" role="rowgroup" style={{ height: `${lines.length * ROW_HEIGHT}px` }}>
          <Rows {...{ lines, shown, selected, indent, now }} active={focus.active} />
          <div class="task-gantt" style={{ width: `${ganttWidth}px` }} aria-hidden="true">
            <GanttColumn lines={lines} shown={shown} range={range} now={now} width={ganttWidth} />
          </div>
        </div>
      </div>
    </div>
  );
}

interface HeadProps {
  indent: number;
  range: GanttRange;
  width: number;
  axis: RefObject<HTMLDivElement | null>;
}

function Head({ indent, range, width, axis }: HeadProps) {
  return (
    <div class="task-row task-head" role="row" aria-rowindex={1}>
      <span role="columnheader" style={{ paddingLeft: `${indent}px` }}>
        Task
      </span>
      <span role="columnheader">State</span>
      <span role="columnheader" class="number">
        Tries
      </span>
      <span role="columnheader" class="number">
        Queued
      </span>
      <span role="columnheader" class="number">
        Duration
      </span>
      <div role="columnheader" class="task-axis" ref={axis}>
        <span class="hidden-visually">Started</span>
        <GanttAxis range={range} width={width} />
      </div>
    </div>
  );
}

interface RowsProps {
  lines: readonly TaskLine[];
  shown: RowWindow;
  selected: string | null;
  active: number;
  indent: number;
  now: number;
}

function Rows({ lines, shown, selected, active, indent, now }: RowsProps) {
  return (
    <>
      {lines.slice(shown.from, shown.to).map((line, n) => (
        <Row
          key={line.key}
          line={line}
          place={shown.from + n}
          selected={line.task?.id === selected}
          active={active}
          indent={indent}
          now={now}
        />
      ))}
    </>
  );
}

interface RowProps {
  line: TaskLine;
  place: number;
  selected: boolean;
  active: number;
  indent: number;
  now: number;
}

function Row({ line, place, selected, active, indent, now }: RowProps) {
  const { bar, task } = line;
  return (
    <div
      class="task-row"
      role="row"
      aria-rowindex={place + 2}
      data-place={place}
      data-selected={selected}
      style={{ transform: `translateY(${place * ROW_HEIGHT}px)` }}
    >
      <span
        role="cell"
        class="task-name"
        style={{ paddingLeft: `${line.depth * 14 + (line.open === null ? indent : 0)}px` }}
      >
        <button
          type="button"
          class="task-button"
          tabIndex={place === active ? 0 : -1}
          title={task?.task_id ?? line.key}
          aria-expanded={line.open ?? undefined}
          aria-pressed={task === null ? undefined : selected}
        >
          {line.open !== null && <Icon name={line.open ? "down" : "right"} />}
          <span class="clip">{line.label}</span>
          {line.comments > 0 && <CommentMark count={line.comments} />}
        </button>
      </span>
      <span role="cell" class="clip">
        {task === null ? (
          <Counts line={line} />
        ) : (
          <StateLabel status={task.status} providerStatus={task.provider_status} />
        )}
      </span>
      <span role="cell" class="number">
        {task === null ? "–" : task.try_number}
      </span>
      <span role="cell" class="number second">
        {queuedText(bar, now)}
      </span>
      <span role="cell" class="number">
        {ranText(bar, now)}
      </span>
      <span role="cell">
        <span class="hidden-visually">
          {bar.started === null ? "Not started" : moment(new Date(bar.started))}
        </span>
      </span>
    </div>
  );
}

function Counts({ line }: { line: TaskLine }) {
  return (
    <span class="row task-counts" title={countsText(line.counts)}>
      {line.counts.slice(0, 3).map(({ state, count }) => (
        <span key={state} class="state">
          <StateShape status={state} labelled />
          {count.toLocaleString()}
        </span>
      ))}
    </span>
  );
}

function CommentMark({ count }: { count: number }) {
  const text = counted(count, "comment", "comments");
  return (
    <span class="task-comments" title={text}>
      <Icon name="comment" />
      <span class="hidden-visually">{text}</span>
    </span>
  );
}

function queuedText(bar: GanttBar, now: number): string {
  const end = bar.started ?? (bar.open ? now : null);
  return bar.queued === null || end === null ? "–" : duration(Math.max(0, end - bar.queued) / 1000);
}

function ranText(bar: GanttBar, now: number): string {
  const end = bar.ended ?? (bar.open ? now : null);
  return bar.started === null || end === null ? "–" : duration(Math.max(0, end - bar.started) / 1000);
}

function useRowFocus(
  scroller: { current: HTMLDivElement | null },
  lines: readonly TaskLine[],
  toggle: (key: string) => void,
) {
  const [place, setPlace] = useState(0);
  const wanted = useRef(false);
  const active = Math.min(place, lines.length - 1);
  useLayoutEffect(() => {
    if (!wanted.current) return;
    const button = scroller.current?.querySelector<HTMLElement>(`[data-place="${active}"] .task-button`);
    // A row that was scrolled to is rendered one frame later.
    if (button) {
      button.focus({ preventScroll: true });
      wanted.current = false;
    }
  });
  const move = (to: number) => {
    const next = Math.max(0, Math.min(lines.length - 1, to));
    wanted.current = true;
    setPlace(next);
    const element = scroller.current;
    if (element === null) return;
    const top = next * ROW_HEIGHT;
    const room = element.clientHeight - HEAD_HEIGHT - ROW_HEIGHT;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top > element.scrollTop + room) element.scrollTop = top - room;
  };
  const key = useMemo(
    () => (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const steps: Record<string, number> = {
        ArrowDown: 1,
        j: 1,
        ArrowUp: -1,
        k: -1,
        PageDown: 15,
        PageUp: -15,
      };
      const line = lines[active];
      if (event.key in steps) move(active + (steps[event.key] ?? 0));
      else if (event.key === "Home") move(0);
      else if (event.key === "End") move(lines.length - 1);
      else if (event.key === "ArrowRight" && line?.open === false) toggle(line.key);
      else if (event.key === "ArrowLeft" && line?.open === true) toggle(line.key);
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
    [lines, active, toggle],
  );
  return { active, key, set: setPlace };
}
