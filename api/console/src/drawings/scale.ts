// Round numbers for axes: durations in seconds, and moments in the reader's time zone.

const SECOND_STEPS = [
  0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
  86_400,
];
const DAY = 86_400;

/** At most `most` ticks above zero, the last at or below `max`. */
export function durationTicks(max: number, most: number): number[] {
  const step = secondStep(max / Math.max(1, most));
  const ticks: number[] = [];
  for (let n = 1; n * step <= max * 1.0001 && ticks.length < most; n += 1) ticks.push(n * step);
  return ticks;
}

function secondStep(least: number): number {
  const found = SECOND_STEPS.find((step) => step >= least);
  return found ?? Math.ceil(least / DAY) * DAY;
}

/** A round duration in its largest unit: `15 min`. */
export function tickText(seconds: number): string {
  const units: [seconds: number, name: string][] = [
    [DAY, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const [size, name] = units.find(([unit]) => seconds >= unit && seconds % unit < 0.001) ?? [1, "s"];
  return `${Math.round((seconds / size) * 10) / 10} ${name}`;
}

/** Moments on round local times within a range, both as milliseconds. */
export function timeTicks(from: number, to: number, most: number): number[] {
  const step = secondStep((to - from) / 1000 / Math.max(1, most)) * 1000;
  if (!(step > 0) || !Number.isFinite(step)) return [];
  const offset = new Date(from).getTimezoneOffset() * 60_000;
  const ticks: number[] = [];
  for (let at = Math.ceil((from - offset) / step) * step + offset; at <= to; at += step) ticks.push(at);
  return ticks;
}

/** As `percentile_cont` of the API: between two values it interpolates. */
export function percentile(values: readonly number[], share: number): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? 0;
  const high = sorted[Math.ceil(at)] ?? low;
  return low + (high - low) * (at - Math.floor(at));
}

export function instant(time: string | null | undefined): number | null {
  if (time === null || time === undefined) return null;
  const value = Date.parse(time);
  return Number.isNaN(value) ? null : value;
}
