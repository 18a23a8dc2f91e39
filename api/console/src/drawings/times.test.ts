import { expect, test } from "vitest";
import { durationChart, labelPlaces, pointAt, timePlaces } from "./durations";
import { ganttBar, ganttPaths, ganttRange, joinBars } from "./gantt";
import { durationTicks, percentile, tickText, timeTicks } from "./scale";
import { STRIP, stripPaths, stripRunAt, stripWidth } from "./strip";
import { barAt, timeline } from "./timeline";
import { rowWindow } from "./window";

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const ms = (second: number) => Date.parse(at(second));
const run = (status: string, seconds: number | null) => ({
  id: status,
  status,
  started_at: at(0),
  duration_seconds: seconds,
});

test("percentiles interpolate as the API's do", () => {
  expect(percentile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(percentile([1, 2, 3, 4], 0.95)).toBeCloseTo(3.85);
  expect(percentile([], 0.5)).toBeNull();
});

test("ticks are round and never too many", () => {
  expect(durationTicks(100, 4)).toEqual([30, 60, 90]);
  expect(durationTicks(0.35, 4)).toHaveLength(3);
  expect([0.1, 30, 90, 900, 5400, 86_400].map(tickText)).toEqual([
    "0.1 s",
    "30 s",
    "90 s",
    "15 min",
    "90 min",
    "1 d",
  ]);
  const ticks = timeTicks(ms(0), ms(3600), 6);
  expect(ticks.length).toBeLessThanOrEqual(7);
  expect(ticks.every((tick) => tick % 600_000 === 0)).toBe(true);
  expect(timeTicks(5, 5, 6)).toEqual([]);
});

test("a chart leaves out runs without a duration, oldest first, with its lines", () => {
  const chart = durationChart(
    [run("failed", 30), run("queued", null), run("success", 10), run("success", 20)],
    300,
    100,
    ms(60),
  );
  expect(chart.points.map((point) => point.run)).toEqual([3, 2, 0]);
  expect(chart.median?.seconds).toBe(20);
  expect(chart.p95?.seconds).toBeCloseTo(29);
  expect(chart.marks.map((mark) => mark.state).sort()).toEqual(["failed", "success"]);
  expect(pointAt(chart, 299, 300)).toBe(2);
  expect(pointAt(chart, 301, 300)).toBeNull();
});

test("a chart of a run that runs grows, and of no runs is empty", () => {
  expect(durationChart([run("running", null)], 100, 100, ms(42)).points[0]?.seconds).toBe(42);
  const none = durationChart([], 100, 100, 0);
  expect([none.points, none.median, none.p95]).toEqual([[], null, null]);
});

test("a strip has a path per state, newest at the right, and finds the run under the mouse", () => {
  const paths = stripPaths([run("failed", 10), run("success", 5), run("success", 600)], 0);
  expect(paths.map((path) => path.state)).toEqual(["failed", "success"]);
  expect(stripRunAt(stripWidth() - 1, 3)).toBe(0);
  expect(stripRunAt(0, 3)).toBeNull();
  expect(stripRunAt(0, 100)).toBe(STRIP.bars - 1);
});

test("states of a strip differ by outline", () => {
  const outline = (status: string) => stripPaths([run(status, 10)], 0)[0]?.d;
  const outlines = ["success", "failed", "running", "queued", "unknown"].map(outline);
  expect(new Set(outlines).size).toBe(outlines.length);
});

const task = (
  status: string,
  queued: number | null,
  started: number | null,
  ended: number | null,
  tries = 1,
) => ({
  status,
  queued_at: queued === null ? null : at(queued),
  started_at: started === null ? null : at(started),
  ended_at: ended === null ? null : at(ended),
  try_number: tries,
});

test("a Gantt draws the queue, the run, and the tries before", () => {
  const bars = [ganttBar(task("success", 0, 10, 30, 3)), ganttBar(task("pending", null, null, null))];
  const range = ganttRange(bars, ms(0), ms(40), ms(99));
  expect(range).toEqual({ from: ms(0), to: ms(40) });
  const paths = ganttPaths(bars, 0, range, ms(99), 400, 28);
  expect(paths.queued).toBe("M0 12h100v4h-100z");
  expect(paths.running.map((path) => path.state)).toEqual(["success"]);
  expect(paths.tries.match(/M/g)).toHaveLength(2);
});

test("what runs is open to now", () => {
  const bar = ganttBar(task("running", 0, 10, null));
  expect(bar.open).toBe(true);
  expect(ganttRange([bar], ms(0), null, ms(50))).toEqual({ from: ms(0), to: ms(50) });
  expect(ganttPaths([bar], 0, { from: ms(0), to: ms(50) }, ms(50), 500, 28).running[0]?.d).toContain(
    "M102 7",
  );
  expect(ganttBar(task("failed", 0, 10, null)).open).toBe(false);
});

test("bars of mapped task runs join from the first to the last", () => {
  const joined = joinBars(
    [ganttBar(task("success", 0, 5, 9)), ganttBar(task("running", 2, 3, null))],
    "running",
  );
  expect(joined.joined).toBe(true);
  expect([joined.queued, joined.started, joined.ended, joined.open]).toEqual([ms(0), ms(3), null, true]);
});

test("a run without any times has a range to divide by", () => {
  const range = ganttRange([], null, null, ms(10));
  expect(range.to - range.from).toBe(1000);
});

test("runs that overlap stand below each other, in the lane of their pipeline", () => {
  const one = (pipeline: string, from: number, to: number | null) => ({
    id: `${pipeline}${from}`,
    pipeline_id: pipeline,
    pipeline_name: pipeline,
    status: "success",
    queued_at: null,
    started_at: at(from),
    ended_at: to === null ? null : at(to),
  });
  const g = { from: ms(0), to: ms(100), now: ms(100), width: 1000, rowHeight: 20 };
  const runs = [one("a", 0, 50), one("a", 20, 60), one("b", 10, 20), one("b", 30, null), one("a", 70, 80)];
  const chart = timeline(runs, g);
  expect(chart.lanes.map((lane) => [lane.name, lane.row, lane.rows])).toEqual([
    ["a", 0, 2],
    ["b", 2, 1],
  ]);
  expect(barAt(chart, 250, 30, 20)?.run).toBe(1);
  expect(barAt(chart, 990, 50, 20)?.run).toBe(3);
  expect(barAt(chart, 250, 50, 20)).toBeNull();
  // Where there is no room beside the lanes, each has a row for its name above its runs.
  const named = timeline(runs, { ...g, nameRows: 1 });
  expect(named.lanes.map((lane) => [lane.row, lane.rows])).toEqual([
    [0, 3],
    [3, 2],
  ]);
  expect(barAt(named, 250, 10, 20)).toBeNull();
  expect(barAt(named, 250, 50, 20)?.run).toBe(1);
});

test("the names of two lines stand apart, and above the axis", () => {
  expect(labelPlaces(100, 40, 260)).toEqual([100, 40]);
  expect(labelPlaces(50, 40, 260)).toEqual([66, 40]);
  expect(labelPlaces(259, 258, 260)).toEqual([273, 247]);
  expect(labelPlaces(259, null, 260)[0]).toBe(259);
});

test("a window moves in steps, so that scrolling rarely draws anew", () => {
  expect(rowWindow(0, 600, 24, 2000)).toEqual({ from: 0, to: 48 });
  expect(rowWindow(100, 600, 24, 2000)).toEqual(rowWindow(0, 560, 24, 2000));
  expect(rowWindow(1_000_000, 600, 24, 20)).toEqual({ from: 4, to: 20 });
});

test.each([
  [0, 6, []],
  [1, 6, [0]],
  [2, 6, [0, 1]],
  [9, 6, [0, 2, 4, 6, 8]],
  [25, 6, [0, 5, 10, 15, 20]],
  [100, 2, [0, 99]],
])("of %i points with at most %i times, these have one: %j", (points, most, places) =>
  expect(timePlaces(points, most)).toEqual(places),
);
