// The runs in the list on one axis of time: a lane for each pipeline.
import { useMemo, useRef } from "preact/hooks";
import type { Run } from "../../api/model";
import { paths } from "../../app/paths";
import { navigate } from "../../app/router";
import { useNow } from "../../data/clock";
import { counted, duration, elapsed, exact, moment } from "../../data/format";
import { timeTicks } from "../../drawings/scale";
import { useWidth } from "../../drawings/scroll_window";
import { labelOf, stateOf } from "../../drawings/states";
import { type Timeline, barAt, timeline } from "../../drawings/timeline";
import { hideTip, showTip } from "../../drawings/tip";

const ROW = 20;
const AXIS = 22;
const LABELS = 168;
const MOST_LANES = 14;
const TICKS = 6;

interface TimelineChartProps {
  slug: string;
  runs: Run[];
}

interface Span {
  from: number;
  to: number;
}

/** From the first start in the list until now, or until the last end. */
function spanOf(runs: Run[], now: number): Span | null {
  const starts = runs
    .flatMap((run) => run.started_at ?? run.queued_at ?? [])
    .map((at) => new Date(at).getTime());
  if (starts.length === 0) return null;
  const ends = runs.map((run) => (run.ended_at ? new Date(run.ended_at).getTime() : now));
  const from = Math.min(...starts);
  const to = Math.max(...ends, from + 60_000);
  const margin = (to - from) * 0.02;
  return { from: from - margin, to: to + margin };
}

export function TimelineChart({ slug, runs }: TimelineChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const width = useWidth(box, 0);
  const now = useNow(runs.some((run) => run.status === "running") ? 15 : 0);
  const labels = width < 560 ? 0 : LABELS;
  const span = useMemo(() => spanOf(runs, now), [runs, now]);
  const chart = useMemo(
    () =>
      span && width > labels
        ? timeline(runs, {
            ...span,
            now,
            width: width - labels,
            rowHeight: ROW,
            nameRows: labels === 0 ? 1 : 0,
          })
        : null,
    [runs, span, width, labels],
  );
  return (
    <div class="timeline" ref={box}>
      {chart && span && (
        <Drawing slug={slug} runs={runs} chart={chart} span={span} width={width} labels={labels} />
      )}
    </div>
  );
}

interface DrawingProps extends TimelineChartProps {
  chart: Timeline;
  span: Span;
  width: number;
  labels: number;
}

function Drawing({ slug, runs, chart, span, width, labels }: DrawingProps) {
  const lanes = chart.lanes.slice(0, MOST_LANES);
  const last = lanes[lanes.length - 1];
  const rows = last ? last.row + last.rows : 0;
  const height = rows * ROW;
  const runUnder = (event: MouseEvent & { currentTarget: SVGGElement }) => {
    const area = event.currentTarget.ownerSVGElement?.getBoundingClientRect();
    if (!area) return undefined;
    const bar = barAt(chart, event.clientX - area.left - labels, event.clientY - area.top - AXIS, ROW);
    return bar ? runs[bar.run] : undefined;
  };
  return (
    <>
      <svg
        width={width}
        height={height + AXIS}
        role="img"
        aria-label={`${counted(runs.length, "run", "runs")} of ${counted(chart.lanes.length, "pipeline", "pipelines")} over time; the list below has each of them`}
      >
        <Axis span={span} left={labels} width={width - labels} height={height} />
        {lanes.map((lane) => (
          <g key={lane.pipelineId}>
            <path class="timeline-line" d={`M0 ${AXIS + (lane.row + lane.rows) * ROW - 0.5}H${width}`} />
            <LaneLabel name={lane.name} y={AXIS + lane.row * ROW + 14} letters={labels > 0 ? 22 : 40} />
          </g>
        ))}
        <g
          transform={`translate(${labels} ${AXIS})`}
          class="timeline-bars"
          onPointerMove={(event) => tip(runUnder(event), event)}
          onPointerLeave={hideTip}
          onClick={(event) => {
            const run = runUnder(event);
            if (run) {
              hideTip();
              navigate(paths.run(slug, run.id));
            }
          }}
        >
          <clipPath id="timeline-rows">
            <rect x="-4" y="0" width={width} height={height} />
          </clipPath>
          <g clip-path="url(#timeline-rows)">
            <rect width={width - labels} height={height} class="timeline-ground" />
            {chart.paths.map(({ state, d }) => (
              <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
            ))}
          </g>
        </g>
      </svg>
      {chart.lanes.length > MOST_LANES && (
        <p class="quiet small timeline-more">
          {counted(chart.lanes.length - MOST_LANES, "more pipeline is", "more pipelines are")} in the list
          only.
        </p>
      )}
    </>
  );
}

function LaneLabel({ name, y, letters }: { name: string; y: number; letters: number }) {
  const shown = name.length > letters ? `${name.slice(0, letters - 1)}…` : name;
  return (
    <text class="timeline-label" x="16" y={y}>
      {shown}
      <title>{name}</title>
    </text>
  );
}

function tip(run: Run | undefined, event: PointerEvent): void {
  if (!run) return hideTip();
  const seconds = run.duration_seconds ?? elapsed(run.started_at ?? null, run.ended_at ?? null);
  const lines = [run.started_at ? exact(run.started_at) : "Not started", duration(seconds)];
  showTip(
    { state: stateOf(run.status), title: `${run.pipeline_name} · ${labelOf(run.status)}`, lines },
    event.clientX,
    event.clientY,
  );
}

/** Half the width of a time on the axis, in pixels. */
const HALF_LABEL = 50;

/** Where a time stands below its tick: at the edges within the drawing. */
function labelPlace(x: number, end: number): { x: number; "text-anchor": "start" | "middle" | "end" } {
  if (x < HALF_LABEL) return { x: 2, "text-anchor": "start" };
  if (x > end - HALF_LABEL) return { x: end - 2, "text-anchor": "end" };
  return { x, "text-anchor": "middle" };
}

function Axis({ span, left, width, height }: { span: Span; left: number; width: number; height: number }) {
  const most = Math.max(2, Math.min(TICKS, Math.floor(width / 110)));
  return (
    <g>
      {timeTicks(span.from, span.to, most).map((at) => {
        const x = Math.round(left + ((at - span.from) / (span.to - span.from)) * width) + 0.5;
        return (
          <g key={at}>
            <path class="timeline-tick" d={`M${x} ${AXIS - 4}V${AXIS + height}`} />
            <text class="timeline-time" y="12" {...labelPlace(x, left + width)}>
              {moment(new Date(at))}
            </text>
          </g>
        );
      })}
    </g>
  );
}
