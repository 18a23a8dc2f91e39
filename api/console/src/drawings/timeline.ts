// Runs of many pipelines on one axis of time: a lane per pipeline, more where its runs overlap.

import { discPath, roundedPath } from "./outlines";
import { instant } from "./scale";
import { stateOf, type StateName } from "./states";
import type { StripPath } from "./strip";

export interface TimelineRun {
  id: string;
  pipeline_id: string;
  pipeline_name: string;
  status: string;
  queued_at: string | null;
  started_at: string | null;
  ended_at: string | null;
}

export interface TimelineLane {
  pipelineId: string;
  name: string;
  /** The first of its rows, and how many it has. */
  row: number;
  rows: number;
}

export interface TimelineBar {
  run: number;
  row: number;
  x: number;
  width: number;
  state: StateName;
}

export interface Timeline {
  lanes: readonly TimelineLane[];
  bars: readonly TimelineBar[];
  paths: readonly StripPath[];
  rows: number;
}

export interface TimelineGeometry {
  from: number;
  to: number;
  now: number;
  width: number;
  rowHeight: number;
  /** Rows above each lane for its name, where there is no room beside it. */
  nameRows?: number;
}

const LEAST_WIDTH = 3;
const GAP = 1;

export function timeline(runs: readonly TimelineRun[], g: TimelineGeometry): Timeline {
  const byPipeline = new Map<string, number[]>();
  runs.forEach((run, place) => {
    const places = byPipeline.get(run.pipeline_id);
    if (places === undefined) byPipeline.set(run.pipeline_id, [place]);
    else places.push(place);
  });
  const lanes: TimelineLane[] = [];
  const bars: TimelineBar[] = [];
  const { nameRows = 0 } = g;
  let row = 0;
  for (const [pipelineId, places] of byPipeline) {
    const placed = placeRuns(runs, places, g);
    if (placed.length === 0) continue;
    const rows = Math.max(...placed.map((bar) => bar.row)) + 1 + nameRows;
    bars.push(...placed.map((bar) => ({ ...bar, row: bar.row + row + nameRows })));
    lanes.push({ pipelineId, name: runs[places[0] ?? 0]?.pipeline_name ?? "", row, rows });
    row += rows;
  }
  return { lanes, bars, paths: barPaths(bars, g), rows: row };
}

/** A run stands in the first row where the one before it has ended. */
function placeRuns(
  runs: readonly TimelineRun[],
  places: readonly number[],
  g: TimelineGeometry,
): TimelineBar[] {
  const ends: number[] = [];
  const scale = g.width / (g.to - g.from);
  const bars: TimelineBar[] = [];
  const timed = places.flatMap((place) => {
    const run = runs[place];
    const start = run === undefined ? null : (instant(run.started_at) ?? instant(run.queued_at));
    if (run === undefined || start === null) return [];
    return [
      { place, start, end: Math.max(start, instant(run.ended_at) ?? g.now), state: stateOf(run.status) },
    ];
  });
  for (const run of timed.sort((a, b) => a.start - b.start)) {
    if (run.end < g.from || run.start > g.to) continue;
    const x = Math.max(0, (run.start - g.from) * scale);
    const width = Math.max(LEAST_WIDTH, Math.min(g.width, (run.end - g.from) * scale) - x);
    let row = ends.findIndex((end) => end + GAP <= x);
    if (row === -1) row = ends.length;
    ends[row] = x + width;
    bars.push({ run: run.place, row, x, width, state: run.state });
  }
  return bars;
}

function barPaths(bars: readonly TimelineBar[], g: TimelineGeometry): StripPath[] {
  const parts = new Map<StateName, string>();
  for (const bar of bars) parts.set(bar.state, (parts.get(bar.state) ?? "") + barPath(bar, g.rowHeight));
  return [...parts].map(([state, d]) => ({ state, d }));
}

// A failed run has a notch, a running one is hollow, and one that waits is a disc.
function barPath(bar: TimelineBar, rowHeight: number): string {
  const [top, height] = [bar.row * rowHeight + 3, rowHeight - 6];
  switch (bar.state) {
    case "queued":
      return discPath(bar.x + height / 2, top + height / 2, height / 2 - 1);
    case "running":
      return roundedPath(bar.x, top, bar.width, height, 2) + hole(bar, top, height, 1.5);
    case "failed":
      return roundedPath(bar.x, top, bar.width, height, 2) + notch(bar, top, height);
    default:
      return roundedPath(bar.x, top, bar.width, height, 2);
  }
}

function hole(bar: TimelineBar, top: number, height: number, border: number): string {
  const width = bar.width - 2 * border;
  return width <= 0 ? "" : roundedPath(bar.x + border, top + border, width, height - 2 * border, 1);
}

// Cut out of wide bars; narrow ones get a foot below them.
function notch(bar: TimelineBar, top: number, height: number): string {
  const middle = bar.x + bar.width / 2;
  if (bar.width < 10) return `M${middle} ${top + height + 2.5}l2.5 -2.5h-5z`;
  return `M${middle - 3} ${top}h6l-3 ${height / 2}z`;
}

export function barAt(chart: Timeline, x: number, y: number, rowHeight: number): TimelineBar | null {
  const row = Math.floor(y / rowHeight);
  const near = chart.bars.filter((bar) => bar.row === row && x >= bar.x - 2 && x <= bar.x + bar.width + 2);
  return near[0] ?? null;
}
