// The chart of a pipeline's durations: a mark per run, the oldest at the left, with lines at the median and
// at the 95th percentile of the finished runs that are shown.

import { round } from "./outlines";
import { durationTicks, percentile } from "./scale";
import { shapePath, stateOf, states, type StateName } from "./states";
import { runSeconds, type StripPath } from "./strip";

export interface DurationRun {
  id: string;
  status: string;
  started_at: string | null;
  duration_seconds: number | null;
}

export interface DurationChart {
  points: readonly DurationPoint[];
  /** One path per status with the marks of its runs. */
  marks: readonly StripPath[];
  /** Thin lines from the axis to each mark, so that neighbours can be compared. */
  stems: string;
  ticks: readonly ChartLine[];
  median: ChartLine | null;
  p95: ChartLine | null;
}

export interface DurationPoint {
  run: number;
  x: number;
  y: number;
  seconds: number;
  state: StateName;
}

export interface ChartLine {
  y: number;
  seconds: number;
}

const MARK = 9;

/** Runs come the newest first. Those that have not started have no duration and are left out. */
export function durationChart(
  runs: readonly DurationRun[],
  width: number,
  height: number,
  now: number,
): DurationChart {
  const timed = runs
    .map((run, place) => ({ place, seconds: runSeconds(run, now), state: stateOf(run.status) }))
    .filter((run): run is { place: number; seconds: number; state: StateName } => run.seconds !== null)
    .reverse();
  const finished = timed.filter((run) => run.state === "success" || run.state === "failed");
  const max = Math.max(...timed.map((run) => run.seconds), 0.1) * 1.08;
  const y = (seconds: number): number => round(height - (seconds / max) * height);
  const step = width / Math.max(timed.length, 1);
  const points = timed.map(({ place, seconds, state }, n) => ({
    run: place,
    x: round((n + 0.5) * step),
    y: y(seconds),
    seconds,
    state,
  }));
  const line = (seconds: number | null): ChartLine | null =>
    seconds === null ? null : { y: y(seconds), seconds };
  const values = finished.map((run) => run.seconds);
  return {
    points,
    marks: marks(points),
    stems: points.map((point) => `M${point.x} ${round(height)}V${point.y}`).join(""),
    ticks: durationTicks(max, 4).map((seconds) => ({ y: y(seconds), seconds })),
    median: line(percentile(values, 0.5)),
    p95: values.length < 2 ? null : line(percentile(values, 0.95)),
  };
}

function marks(points: readonly DurationPoint[]): StripPath[] {
  const parts = new Map<StateName, string>();
  for (const { x, y, state } of points) {
    const d = shapePath(states[state].shape, x, y, MARK / 2);
    parts.set(state, (parts.get(state) ?? "") + d);
  }
  return [...parts].map(([state, d]) => ({ state, d }));
}

/** Which of so many points have their time below the axis: at most `most`, evenly spaced from the first. */
export function timePlaces(points: number, most: number): number[] {
  if (points === 0) return [];
  const step = Math.max(1, Math.ceil((points - 1) / Math.max(1, most - 1)));
  return Array.from({ length: Math.floor((points - 1) / step) + 1 }, (_, n) => n * step);
}

/** Of a name and the value below it. */
const LABEL_HEIGHT = 26;

/** Where the names of the median and of the line above it stand: apart, and not below the axis. */
export function labelPlaces(median: number | null, p95: number | null, height: number): [number, number] {
  const lower = Math.max(median ?? 0, p95 === null ? 0 : p95 + LABEL_HEIGHT);
  const place = Math.min(lower, height + LABEL_HEIGHT / 2);
  return [place, Math.min(p95 ?? 0, place - LABEL_HEIGHT)];
}

/** The point whose column lies under `x`. */
export function pointAt(chart: DurationChart, x: number, width: number): number | null {
  if (chart.points.length === 0 || x < 0 || x > width) return null;
  return Math.min(chart.points.length - 1, Math.floor(x / (width / chart.points.length)));
}
