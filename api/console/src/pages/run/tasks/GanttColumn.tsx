import { useMemo } from "preact/hooks";
import { duration, exact } from "../../../data/format";
import { ganttPaths, type GanttRange } from "../../../drawings/gantt";
import { timeTicks } from "../../../drawings/scale";
import { hideTip, showTip } from "../../../drawings/tip";
import { countsText } from "../../../drawings/counts";
import { labelOf } from "../../../drawings/states";
import type { RowWindow } from "../../../drawings/window";
import { ROW_HEIGHT } from "./TaskTable";
import type { TaskLine } from "./task_rows";

interface GanttColumnProps {
  lines: readonly TaskLine[];
  shown: RowWindow;
  range: GanttRange;
  now: number;
  width: number;
}

/** The bars of the rows in sight: one path for what was queued, one per state for what ran. */
export function GanttColumn({ lines, shown, range, now, width }: GanttColumnProps) {
  const paths = useMemo(() => {
    const bars = lines.slice(shown.from, shown.to).map((line) => line.bar);
    return ganttPaths(bars, shown.from, range, now, width, ROW_HEIGHT);
  }, [lines, shown, range, now, width]);
  const ticks = axisTicks(range, width);
  const height = lines.length * ROW_HEIGHT;
  const point = (event: PointerEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const line = lines[Math.floor((event.clientY - box.top) / ROW_HEIGHT)];
    if (line === undefined) hideTip();
    else
      showTip(
        { state: line.bar.state, title: line.label, lines: tipLines(line, now) },
        event.clientX,
        event.clientY,
      );
  };
  return (
    <svg width={width} height={height} onPointerMove={point} onPointerLeave={hideTip}>
      {ticks.map(({ x }) => (
        <path key={x} class="gantt-tick" d={`M${x} 0V${height}`} />
      ))}
      <path class="gantt-queued" d={paths.queued} />
      {paths.running.map(({ state, d }) => (
        <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
      ))}
      <path class="gantt-marks" d={paths.marks} />
      <path class="gantt-tries" d={paths.tries} />
    </svg>
  );
}

function tipLines(line: TaskLine, now: number): string[] {
  const { queued, started, ended, open, tries, state } = line.bar;
  const lines = [line.task === null ? countsText(line.counts) : labelOf(state)];
  const begin = started ?? (open ? now : ended);
  if (queued !== null && begin !== null) lines.push(`Queued ${duration((begin - queued) / 1000)}`);
  const end = ended ?? (open ? now : null);
  if (started !== null) lines.push(`Started ${exact(new Date(started))}`);
  if (started !== null && end !== null)
    lines.push(`${ended === null ? "Running for" : "Ran"} ${duration((end - started) / 1000)}`);
  if (tries > 1) lines.push(`Try ${tries}`);
  return lines;
}

function axisTicks(range: GanttRange, width: number): { x: number; at: number }[] {
  const scale = width / (range.to - range.from);
  return timeTicks(range.from, range.to, Math.max(1, Math.floor(width / 90))).map((at) => ({
    x: Math.round((at - range.from) * scale),
    at,
  }));
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const clockWithSeconds = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit" });

/** Of the longest label, in pixels. */
const LABEL_WIDTH = 80;

export function GanttAxis({ range, width }: { range: GanttRange; width: number }) {
  const span = range.to - range.from;
  const format = span < 600_000 ? clockWithSeconds : span < 86_400_000 ? clock : day;
  // A label at the edge would be cut off; a single one stands before its line, or where there is room.
  const all = axisTicks(range, width);
  const inside = all.filter(({ x }) => x < width - LABEL_WIDTH);
  const ticks = inside.length > 0 ? inside : all.slice(0, 1);
  const isBefore = inside.length === 0;
  return (
    <svg class="gantt-axis" width={width} height={20} aria-hidden="true">
      {ticks.map(({ x, at }) => (
        <text
          key={at}
          x={isBefore ? Math.max(LABEL_WIDTH, x - 3) : x + 3}
          y={14}
          text-anchor={isBefore ? "end" : "start"}
        >
          {format.format(at)}
        </text>
      ))}
    </svg>
  );
}
