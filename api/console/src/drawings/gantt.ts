// Lays out a run's task runs on an axis of time: the part in the queue, the part that ran, and how often each
// was tried.

import { isFinished } from "./counts";
import { rectanglePath, round, roundedPath } from "./outlines";
import { instant } from "./scale";
import { shapePath, stateOf, states, type StateName } from "./states";
import type { StripPath } from "./strip";

export interface GanttTask {
  status: string;
  queued_at: string | null;
  started_at: string | null;
  ended_at: string | null;
  try_number: number | null;
}

export interface GanttBar {
  state: StateName;
  /** Milliseconds; null where the task run has not come so far. */
  queued: number | null;
  started: number | null;
  ended: number | null;
  /** Whether its last part is open: it ends now, and moves on. */
  open: boolean;
  tries: number;
  /** Whether it stands for several task runs: then it is hollow. */
  joined: boolean;
}

export interface GanttRange {
  from: number;
  to: number;
}

export interface GanttPaths {
  queued: string;
  running: readonly StripPath[];
  /** The shapes of what did not succeed, at the end of its bar: the colour alone would not tell. */
  marks: string;
  /** A notch at the start of a bar for each try before the last. */
  tries: string;
}

export function ganttBar(task: GanttTask): GanttBar {
  const state = stateOf(task.status);
  const started = instant(task.started_at);
  const ended = instant(task.ended_at);
  return {
    state,
    queued: instant(task.queued_at),
    started,
    ended,
    open: ended === null && !isFinished(state),
    tries: Math.max(0, task.try_number ?? 0),
    joined: false,
  };
}

/** A bar for several task runs: from the first moment to the last. */
export function joinBars(bars: readonly GanttBar[], state: StateName): GanttBar {
  const first = (pick: (bar: GanttBar) => number | null): number | null => {
    const values = bars.map(pick).filter((value) => value !== null);
    return values.length === 0 ? null : values.reduce((a, b) => Math.min(a, b));
  };
  const ends = bars.map((bar) => bar.ended).filter((value) => value !== null);
  const open = bars.some((bar) => bar.open && bar.started !== null);
  return {
    state,
    queued: first((bar) => bar.queued),
    started: first((bar) => bar.started),
    ended: open || ends.length === 0 ? null : ends.reduce((a, b) => Math.max(a, b)),
    open,
    tries: 0,
    joined: true,
  };
}

/** From the run's first moment to its last, or to now while it runs: at least a second. */
export function ganttRange(
  bars: readonly GanttBar[],
  runFrom: number | null,
  runTo: number | null,
  now: number,
): GanttRange {
  let from = runFrom ?? Infinity;
  let to = runTo ?? -Infinity;
  for (const bar of bars) {
    const first = bar.queued ?? bar.started;
    if (first !== null) from = Math.min(from, first);
    const last = bar.open && first !== null ? now : (bar.ended ?? bar.started ?? bar.queued);
    if (last !== null) to = Math.max(to, last);
  }
  if (runFrom !== null && runTo === null) to = Math.max(to, now);
  if (!Number.isFinite(from)) return { from: now - 1000, to: now };
  return { from, to: Math.max(to, from + 1000) };
}

export function ganttPaths(
  bars: readonly GanttBar[],
  fromRow: number,
  range: GanttRange,
  now: number,
  width: number,
  rowHeight: number,
): GanttPaths {
  const x = (at: number): number => round(((at - range.from) / (range.to - range.from)) * width);
  const running = new Map<StateName, string>();
  const paths = { queued: "", marks: "", tries: "" };
  bars.forEach((bar, place) => {
    const y = (fromRow + place) * rowHeight;
    const queueEnd = bar.started ?? (bar.open ? now : bar.ended);
    if (bar.queued !== null && queueEnd !== null && queueEnd > bar.queued) {
      const long = Math.max(1, x(queueEnd) - x(bar.queued));
      paths.queued += rectanglePath(x(bar.queued), y + rowHeight / 2 - 2, long, 4);
    }
    const end = bar.ended ?? (bar.open ? now : bar.started);
    if (bar.started === null || end === null) return;
    const left = x(bar.started);
    const long = Math.max(2, x(end) - left);
    running.set(bar.state, (running.get(bar.state) ?? "") + barPath(bar, left, y, long, rowHeight));
    paths.tries += tryNotches(bar, left, y, rowHeight);
    if (bar.state !== "success" && !bar.joined && long > 16) {
      const right = left + long - 8;
      paths.marks += shapePath(states[bar.state].shape, right, y + rowHeight / 2, 4);
    }
  });
  return { ...paths, running: [...running].map(([state, d]) => ({ state, d })) };
}

const BAR_MARGIN = 7;
const MOST_NOTCHES = 5;

function barPath(bar: GanttBar, x: number, y: number, width: number, rowHeight: number): string {
  const [top, height] = [y + BAR_MARGIN, rowHeight - 2 * BAR_MARGIN];
  const outer = roundedPath(x, top, width, height, 2);
  return bar.joined && width > 5 ? outer + rectanglePath(x + 1.5, top + 1.5, width - 3, height - 3) : outer;
}

function tryNotches(bar: GanttBar, left: number, y: number, rowHeight: number): string {
  const count = Math.max(0, Math.min(bar.tries - 1, MOST_NOTCHES));
  return Array.from({ length: count }, (_, n) =>
    rectanglePath(left + (n + 1) * 4, y + BAR_MARGIN, 1.5, rowHeight - 2 * BAR_MARGIN),
  ).join("");
}
