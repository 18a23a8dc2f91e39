import { useMemo, useRef } from "preact/hooks";
import type { Run } from "../../../api/model";
import { paths } from "../../../app/paths";
import { navigate } from "../../../app/router";
import { useNow } from "../../../data/clock";
import { counted, duration, exact } from "../../../data/format";
import {
  durationChart,
  labelPlaces,
  pointAt,
  timePlaces,
  type ChartLine,
  type DurationChart,
} from "../../../drawings/durations";
import { instant, tickText } from "../../../drawings/scale";
import { useWidth } from "../../../drawings/scroll_window";
import { labelOf } from "../../../drawings/states";
import { hideTip, showTip } from "../../../drawings/tip";
import "./durations.css";

const HEIGHT = 260;
const LEFT = 64;
const RIGHT = 76;
const TOP = 16;
const BOTTOM = 28;
const ZERO: ChartLine = { y: HEIGHT, seconds: 0 };

export function DurationsDrawing({ slug, runs }: { slug: string; runs: readonly Run[] }) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box, 900);
  const now = useNow(runs.some((run) => run.status === "running") ? 5 : 0);
  const plot = Math.max(120, width - LEFT - RIGHT);
  const chart = useMemo(() => durationChart(runs, plot, HEIGHT, now), [runs, plot, now]);
  const pointer = useChartPointer(slug, runs, chart, plot);
  const [medianLabel, p95Label] = labelPlaces(chart.median?.y ?? null, chart.p95?.y ?? null, HEIGHT);
  return (
    <div
      class="durations"
      ref={box}
      tabIndex={0}
      role="img"
      aria-label={summary(runs, chart)}
      aria-live="off"
      onPointerMove={pointer.move}
      onPointerLeave={pointer.leave}
      onBlur={pointer.leave}
      onClick={pointer.open}
      onKeyDown={pointer.key}
    >
      <svg width={width} height={HEIGHT + TOP + BOTTOM} aria-hidden="true">
        <g transform={`translate(${LEFT} ${TOP})`}>
          {[ZERO, ...chart.ticks].map((tick) => (
            <Tick key={tick.seconds} tick={tick} width={plot} />
          ))}
          <path class="chart-axis" d={`M0 ${HEIGHT}H${plot}`} />
          <path class="chart-stems" d={chart.stems} />
          <g ref={pointer.marker} class="chart-marker">
            <path d={`M0 0V${HEIGHT}`} />
          </g>
          <Line line={chart.median} name="median" width={plot} label={medianLabel} />
          <Line line={chart.p95} name="95 %" width={plot} label={p95Label} />
          {chart.marks.map(({ state, d }) => (
            <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
          ))}
          <TimeAxis runs={runs} chart={chart} width={plot} />
        </g>
      </svg>
    </div>
  );
}

function Tick({ tick, width }: { tick: ChartLine; width: number }) {
  return (
    <>
      <path class="chart-grid" d={`M0 ${tick.y}H${width}`} />
      <text class="chart-text" x={-8} y={tick.y + 4} text-anchor="end">
        {tickText(tick.seconds)}
      </text>
    </>
  );
}

function Line({
  line,
  name,
  width,
  label,
}: {
  line: ChartLine | null;
  name: string;
  width: number;
  /** Where the name stands at the right. */
  label: number;
}) {
  if (line === null) return null;
  return (
    <>
      <path class="chart-line" data-name={name} d={`M0 ${line.y}H${width}`} />
      <text class="chart-text chart-strong" x={width + 6} y={label}>
        {name}
      </text>
      <text class="chart-text" x={width + 6} y={label + 12}>
        {duration(line.seconds)}
      </text>
    </>
  );
}

const dayFormat = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
/** The least room for a time with its day. */
const LABEL = 130;

interface TimeAxisProps {
  runs: readonly Run[];
  chart: DurationChart;
  width: number;
}

function TimeAxis({ runs, chart, width }: TimeAxisProps) {
  const { points } = chart;
  const most = Math.max(2, Math.min(6, Math.floor(width / LABEL)));
  let day = "";
  return (
    <>
      {timePlaces(points.length, most).map((place) => {
        const point = points[place];
        const at = instant(point && runs[point.run]?.started_at);
        if (point === undefined || at === null) return null;
        const before = day;
        day = dayFormat.format(at);
        return (
          <text key={place} class="chart-text" x={point.x} y={HEIGHT + 18} text-anchor="middle">
            {day === before ? timeFormat.format(at) : `${day}, ${timeFormat.format(at)}`}
          </text>
        );
      })}
    </>
  );
}

function useChartPointer(slug: string, runs: readonly Run[], chart: DurationChart, plot: number) {
  const marker = useRef<SVGGElement>(null);
  const at = useRef<number | null>(null);
  const place = (next: number | null, x: number, y: number) => {
    const point = next === null ? undefined : chart.points[next];
    const run = point === undefined ? undefined : runs[point.run];
    at.current = next;
    if (marker.current !== null) marker.current.dataset.shown = String(point !== undefined);
    if (point === undefined || run === undefined) return hideTip();
    marker.current?.setAttribute("transform", `translate(${point.x} 0)`);
    const lines = [duration(point.seconds), run.started_at === null ? "" : exact(run.started_at)];
    showTip({ state: point.state, title: labelOf(run.status), lines }, x, y);
  };
  const open = () => {
    const point = at.current === null ? undefined : chart.points[at.current];
    const run = point === undefined ? undefined : runs[point.run];
    hideTip();
    if (run !== undefined) navigate(paths.run(slug, run.id));
  };
  return {
    marker,
    open,
    move: (event: PointerEvent) => {
      const left = (event.currentTarget as Element).getBoundingClientRect().left + LEFT;
      place(pointAt(chart, event.clientX - left, plot), event.clientX, event.clientY);
    },
    leave: () => place(null, 0, 0),
    key: (event: KeyboardEvent) => {
      const last = chart.points.length - 1;
      if (event.key === "Enter") return open();
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      const next = at.current === null ? last : at.current + (event.key === "ArrowLeft" ? -1 : 1);
      const clamped = Math.max(0, Math.min(last, next));
      const box = (event.currentTarget as Element).getBoundingClientRect();
      const point = chart.points[clamped];
      if (point !== undefined) place(clamped, box.left + LEFT + point.x, box.top + TOP + point.y);
    },
  };
}

function summary(runs: readonly Run[], chart: DurationChart): string {
  const failed = runs.filter((run) => run.status === "failed").length;
  const median = chart.median === null ? "" : `, median ${duration(chart.median.seconds)}`;
  const p95 = chart.p95 === null ? "" : `, 95 percent within ${duration(chart.p95.seconds)}`;
  return `Durations of ${counted(chart.points.length, "run", "runs")}${median}${p95}, ${failed} failed. The table has each of them.`;
}
