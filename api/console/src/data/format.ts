// Times in the reader's zone, durations and numbers, as text.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A duration in at most two units: `0.4 s`, `12.5 s`, `3 min 05 s`, `2 h 07 min`, `4 d 03 h`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) return "0 s";
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return pair(whole, MINUTE, "min", 1, "s");
  if (whole < DAY) return pair(whole, HOUR, "h", MINUTE, "min");
  return pair(whole, DAY, "d", HOUR, "h");
}

function pair(whole: number, large: number, largeUnit: string, small: number, smallUnit: string): string {
  const rest = Math.floor((whole % large) / small);
  return `${Math.floor(whole / large)} ${largeUnit} ${String(rest).padStart(2, "0")} ${smallUnit}`;
}

const number0 = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : number0.format(value);
}

/** A number with its noun: `1 run`, `2,000 runs`. */
export function counted(value: number, one: string, many: string): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** A list's length with its noun; while it is not known, that it is counted, unless reading it failed. */
export function totalText(
  { total, failure }: { total: number | null; failure: unknown },
  one: string,
  many: string,
): string {
  if (total === null) return failure ? "" : "Counting…";
  return counted(total, one, many);
}

/** A rate of 0 to 1 in percent. 100 % only if nothing failed: 0.9996 is `99.9 %`. */
export function percent(rate: number | null | undefined): string {
  if (rate === null || rate === undefined) return "–";
  if (rate === 1) return "100 %";
  const tenths = Math.floor(rate * 1000) / 10;
  return `${tenths >= 99 ? tenths.toFixed(1) : Math.floor(tenths).toFixed(0)} %`;
}

const dayAndTime = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const withYear = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const timeOnly = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const withSeconds = new Intl.DateTimeFormat(undefined, {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** A time as short as it is clear: the time of today, the day and time of this year, else the year too. */
export function moment(at: string | Date, now: Date = new Date()): string {
  const date = new Date(at);
  if (date.toDateString() === now.toDateString()) return timeOnly.format(date);
  return (date.getFullYear() === now.getFullYear() ? dayAndTime : withYear).format(date);
}

const timeWithSeconds = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** Like `moment`, with the seconds of a time of today. */
export function second(at: string | Date, now: Date = new Date()): string {
  const date = new Date(at);
  return date.toDateString() === now.toDateString() ? timeWithSeconds.format(date) : moment(at, now);
}

const zoneName = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" });

/** Like `second`, with the name of the reader's zone. */
export function zoned(at: string | Date, now: Date = new Date()): string {
  const zone = zoneName.formatToParts(new Date(at)).find(({ type }) => type === "timeZoneName");
  return `${second(at, now)} ${zone?.value ?? ""}`.trim();
}

/** The reader's zone: `Europe/Paris`. */
export function readerZone(): string {
  return zoneName.resolvedOptions().timeZone;
}

export function exact(at: string | Date): string {
  return withSeconds.format(new Date(at));
}

/** The time in UTC, for the title of an element that shows the reader's. */
export function utc(at: string | Date): string {
  return `${new Date(at)
    .toISOString()
    .replace("T", " ")
    .replace(/\.\d+Z$/, "")} UTC`;
}

/** The name of a provider: `airflow` is `Airflow`. */
export function providerName(provider: string): string {
  return provider.charAt(0).toUpperCase() + provider.slice(1);
}

/** The distance from now: `just now`, `in a moment`, `4 min ago`, `in 2 h`. */
export function relative(at: string | Date, now: number = Date.now()): string {
  const seconds = (new Date(at).getTime() - now) / 1000;
  const distance = Math.abs(seconds);
  if (distance < 10) return seconds > 0 ? "in a moment" : "just now";
  const text = distance < 90 ? `${Math.round(distance)} s` : coarse(distance);
  return seconds > 0 ? `in ${text}` : `${text} ago`;
}

function coarse(seconds: number): string {
  if (seconds < 90 * MINUTE) return `${Math.round(seconds / MINUTE)} min`;
  if (seconds < 36 * HOUR) return `${Math.round(seconds / HOUR)} h`;
  return `${Math.round(seconds / DAY)} d`;
}

/** Seconds from a start until an end, or until now while there is none. */
export function elapsed(
  startedAt: string | null,
  endedAt: string | null,
  now: number = Date.now(),
): number | null {
  if (!startedAt) return null;
  const end = endedAt ? new Date(endedAt).getTime() : now;
  return Math.max(0, (end - new Date(startedAt).getTime()) / 1000);
}
