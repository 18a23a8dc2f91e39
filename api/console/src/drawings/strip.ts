// The strip of a pipeline's last runs: a bar per run, the newest at the right. Its height is the duration,
// and its status is told by colour and by outline.

import { discPath, rectanglePath, round } from "./outlines";
import { instant, percentile } from "./scale";
import { stateOf, type StateName } from "./states";

export interface StripRun {
  id: string;
  status: string;
  started_at: string | null;
  duration_seconds: number | null;
}

export interface StripPath {
  state: StateName;
  d: string;
}

export interface StripGeometry {
  barWidth: number;
  gap: number;
  height: number;
  /** As many bars have room; fewer runs stand at the right. */
  bars: number;
}

export const STRIP: StripGeometry = { barWidth: 4, gap: 2, height: 24, bars: 25 };

export function stripWidth(g: StripGeometry = STRIP): number {
  return g.bars * (g.barWidth + g.gap) - g.gap;
}

/** One path per status, of runs that come the newest first. */
export function stripPaths(runs: readonly StripRun[], now: number, g: StripGeometry = STRIP): StripPath[] {
  const shown = runs.slice(0, g.bars);
  const seconds = shown.map((run) => runSeconds(run, now));
  const top = scaleTop(seconds.filter((value) => value !== null));
  const parts = new Map<StateName, string>();
  shown.forEach((run, place) => {
    const state = stateOf(run.status);
    const x = (g.bars - 1 - place) * (g.barWidth + g.gap);
    const d = barPath(state, x, barHeight(seconds[place] ?? null, top, g), g);
    parts.set(state, (parts.get(state) ?? "") + d);
  });
  return [...parts].map(([state, d]) => ({ state, d }));
}

/** The place, in the list that was given, of the run under a point; null beside all bars. */
export function stripRunAt(x: number, runs: number, g: StripGeometry = STRIP): number | null {
  const place = g.bars - 1 - Math.floor((x + g.gap / 2) / (g.barWidth + g.gap));
  return place >= 0 && place < Math.min(runs, g.bars) ? place : null;
}

/** One run that took far longer than the others must not flatten them: the scale ends at twice the median. */
function scaleTop(seconds: readonly number[]): number {
  const median = percentile(seconds, 0.5) ?? 0;
  return Math.max(Math.min(Math.max(...seconds, 0), median * 2), 0.001);
}

function barHeight(seconds: number | null, top: number, g: StripGeometry): number {
  const least = g.barWidth + 2;
  return seconds === null ? least : least + (g.height - 5 - least) * Math.min(1, seconds / top);
}

// Below the bars is a band for the mark of failed runs, which a bar of one colour would hide.
function barPath(state: StateName, x: number, height: number, g: StripGeometry): string {
  const base = g.height - 5;
  const [w, h, y] = [g.barWidth, round(height), round(base - height)];
  switch (state) {
    case "failed":
      return rectanglePath(x, y, w, h) + crossPath(x, g.height - w, w);
    case "running":
      return rectanglePath(x, y, w, h) + rectanglePath(x + 1, y + 1, w - 2, h - 2);
    case "queued":
      return discPath(x + w / 2, base - w / 2, w / 2);
    case "success":
      return rectanglePath(x, y, w, h);
    default:
      return rectanglePath(x + w / 2 - 0.5, y, 1, h);
  }
}

function crossPath(x: number, y: number, size: number): string {
  const arm = size * 0.28;
  const points = [
    [0, arm],
    [arm, 0],
    [size / 2, size / 2 - arm],
    [size - arm, 0],
    [size, arm],
    [size / 2 + arm, size / 2],
    [size, size - arm],
    [size - arm, size],
    [size / 2, size / 2 + arm],
    [arm, size],
    [0, size - arm],
    [size / 2 - arm, size / 2],
  ];
  return `M${points.map(([px, py]) => `${round(x + (px ?? 0))} ${round(y + (py ?? 0))}`).join("L")}z`;
}

export function runSeconds(
  run: Pick<StripRun, "started_at" | "duration_seconds" | "status">,
  now: number,
): number | null {
  if (run.duration_seconds !== null) return run.duration_seconds;
  const started = instant(run.started_at);
  return started === null || run.status !== "running" ? null : Math.max(0, (now - started) / 1000);
}
