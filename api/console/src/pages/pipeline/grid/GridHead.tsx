import { runTime } from "../../../data/run_times";
import { useMemo } from "preact/hooks";
import type { RunSummary } from "../../../api/model";
import { rectanglePath, round, roundedPath } from "../../../drawings/outlines";
import { durationTicks, instant, tickText } from "../../../drawings/scale";
import { shapePath, stateOf, states, type StateName } from "../../../drawings/states";
import { runSeconds } from "../../../drawings/strip";

export const HEAD = { height: 112, dates: 18, bars: 66, marks: 22 };
const DATE_WIDTH = 52;

interface HeadDrawing {
  bars: { state: StateName; d: string }[];
  marks: { state: StateName; d: string }[];
  dates: { x: number; text: string }[];
  ticks: { y: number; text: string }[];
}

const dayFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const hourFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** The durations of the runs as bars, and their states. */
export function headDrawing(runs: readonly RunSummary[], columnWidth: number, now: number): HeadDrawing {
  const seconds = runs.map((run) => runSeconds(run, now));
  const max = Math.max(...seconds.map((value) => value ?? 0), 0.1);
  const height = HEAD.bars - 8;
  const base = HEAD.dates + HEAD.bars;
  const bars = new Map<StateName, string>();
  const marks = new Map<StateName, string>();
  runs.forEach((run, column) => {
    const state = stateOf(run.status);
    const value = seconds[column] ?? null;
    const tall = value === null ? 0 : Math.max(2, (value / max) * height);
    const [x, wide] = [column * columnWidth + columnWidth * 0.22, columnWidth * 0.56];
    add(bars, state, barPath(state, x, base - tall, wide, tall));
    add(
      marks,
      state,
      shapePath(states[state].shape, (column + 0.5) * columnWidth, base + HEAD.marks / 2 + 1, 6),
    );
  });
  return {
    bars: [...bars].map(([state, d]) => ({ state, d })),
    marks: [...marks].map(([state, d]) => ({ state, d })),
    dates: dateLabels(runs, columnWidth),
    ticks: durationTicks(max, 2).map((tick) => ({
      y: round(base - (tick / max) * height),
      text: tickText(tick),
    })),
  };
}

function add(parts: Map<StateName, string>, state: StateName, d: string): void {
  parts.set(state, (parts.get(state) ?? "") + d);
}

function barPath(state: StateName, x: number, y: number, width: number, height: number): string {
  if (height === 0) return "";
  const outer = roundedPath(x, y, width, height, 2);
  // What runs is hollow: its bar still grows.
  return state === "running" && height > 5
    ? outer + rectanglePath(x + 1.5, y + 1.5, width - 3, height - 3)
    : outer;
}

/** The day where it changes, else the time, as far as the labels have room. */
function dateLabels(runs: readonly RunSummary[], columnWidth: number): HeadDrawing["dates"] {
  const labels: HeadDrawing["dates"] = [];
  let [day, free] = ["", 0];
  runs.forEach((run, column) => {
    const at = instant(runTime(run));
    // The last label ends where the grid does.
    const x = Math.min(column * columnWidth, Math.max(0, runs.length * columnWidth - DATE_WIDTH));
    if (at === null || x < free) return;
    const own = dayFormat.format(at);
    labels.push({ x, text: own === day ? hourFormat.format(at) : own });
    day = own;
    free = x + DATE_WIDTH;
  });
  return labels;
}

interface GridHeadProps {
  runs: readonly RunSummary[];
  columnWidth: number;
  labelWidth: number;
  now: number;
}

export function GridHead({ runs, columnWidth, labelWidth, now }: GridHeadProps) {
  const drawing = useMemo(() => headDrawing(runs, columnWidth, now), [runs, columnWidth, now]);
  const width = runs.length * columnWidth;
  return (
    <>
      <div class="grid-corner" style={{ width: `${labelWidth}px` }}>
        {drawing.ticks.map((tick) => (
          <span key={tick.y} class="grid-tick" style={{ top: `${tick.y - 8}px` }}>
            {tick.text}
          </span>
        ))}
        <span class="grid-tick" style={{ top: `${HEAD.dates + HEAD.bars + 3}px` }}>
          Run
        </span>
      </div>
      <svg class="grid-durations" width={width} height={HEAD.height} aria-hidden="true">
        {drawing.ticks.map((tick) => (
          <path key={tick.y} class="grid-line" d={`M0 ${tick.y}H${width}`} />
        ))}
        <path class="grid-line" d={`M0 ${HEAD.dates + HEAD.bars}H${width}`} />
        {drawing.bars.map(({ state, d }) => (
          <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
        ))}
        {drawing.marks.map(({ state, d }) => (
          <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
        ))}
        {drawing.dates.map(({ x, text }) => (
          <text key={x} x={x + 2} y={12} class="grid-date">
            {text}
          </text>
        ))}
      </svg>
    </>
  );
}
