// Every status: its label, and its shape beside its colour, so that no reader depends on colour alone.

export type Shape =
  "disc" | "cross" | "play" | "ring" | "dot" | "diamond" | "dash" | "pause" | "turn" | "square" | "query";

export type StateName =
  | "success"
  | "failed"
  | "running"
  | "queued"
  | "pending"
  | "scheduled"
  | "retrying"
  | "skipped"
  | "upstream_failed"
  | "deferred"
  | "removed"
  | "unknown";

interface State {
  label: string;
  shape: Shape;
}

export const states: Record<StateName, State> = {
  success: { label: "Success", shape: "disc" },
  failed: { label: "Failed", shape: "cross" },
  running: { label: "Running", shape: "play" },
  queued: { label: "Queued", shape: "ring" },
  pending: { label: "Pending", shape: "dot" },
  scheduled: { label: "Scheduled", shape: "ring" },
  retrying: { label: "Retrying", shape: "turn" },
  skipped: { label: "Skipped", shape: "dash" },
  upstream_failed: { label: "Upstream failed", shape: "diamond" },
  deferred: { label: "Deferred", shape: "pause" },
  removed: { label: "Removed", shape: "square" },
  unknown: { label: "Unknown", shape: "query" },
};

/** Statuses in the order in which a legend or a summary lists them: what needs attention first. */
export const stateOrder: StateName[] = [
  "failed",
  "upstream_failed",
  "retrying",
  "running",
  "queued",
  "scheduled",
  "pending",
  "deferred",
  "success",
  "skipped",
  "removed",
  "unknown",
];

/** Returns the state of any status word of the API: a sync's `succeeded` too, and a word of a later release. */
export function stateOf(status: string): StateName {
  if (status === "succeeded") return "success";
  if (status === "never_run") return "pending";
  return status in states ? (status as StateName) : "unknown";
}

export function labelOf(status: string): string {
  if (status === "never_run") return "Never run";
  if (status === "succeeded") return "Succeeded";
  return states[stateOf(status)].label;
}

/** Returns the path of a shape around a centre; to be filled with the rule `evenodd`. */
export function shapePath(shape: Shape, x: number, y: number, radius: number): string {
  return outlines[shape](x, y, radius);
}

type Outline = (x: number, y: number, r: number) => string;

const n = (value: number) => String(Math.round(value * 100) / 100);

function polygon(points: [number, number][]): string {
  return `M${points.map(([x, y]) => `${n(x)} ${n(y)}`).join("L")}Z`;
}

function circle(x: number, y: number, r: number): string {
  return `M${n(x - r)} ${n(y)}a${n(r)} ${n(r)} 0 1 0 ${n(2 * r)} 0a${n(r)} ${n(r)} 0 1 0 ${n(-2 * r)} 0Z`;
}

function box(x: number, y: number, w: number, h: number): string {
  return `M${n(x)} ${n(y)}h${n(w)}v${n(h)}h${n(-w)}Z`;
}

function cross(x: number, y: number, r: number): string {
  const far = r * 0.94;
  const near = r * 0.4;
  const in_ = far - near;
  return polygon([
    [x - far, y - in_],
    [x - in_, y - far],
    [x, y - near],
    [x + in_, y - far],
    [x + far, y - in_],
    [x + near, y],
    [x + far, y + in_],
    [x + in_, y + far],
    [x, y + near],
    [x - in_, y + far],
    [x - far, y + in_],
    [x - near, y],
  ]);
}

const outlines: Record<Shape, Outline> = {
  disc: (x, y, r) => circle(x, y, r * 0.92),
  ring: (x, y, r) => circle(x, y, r * 0.9) + circle(x, y, r * 0.52),
  dot: (x, y, r) => circle(x, y, r * 0.42),
  cross,
  play: (x, y, r) =>
    polygon([
      [x - r * 0.7, y - r],
      [x + r, y],
      [x - r * 0.7, y + r],
    ]),
  diamond: (x, y, r) =>
    polygon([
      [x, y - r],
      [x + r, y],
      [x, y + r],
      [x - r, y],
    ]) +
    polygon([
      [x, y - r * 0.45],
      [x + r * 0.45, y],
      [x, y + r * 0.45],
      [x - r * 0.45, y],
    ]),
  dash: (x, y, r) => box(x - r * 0.9, y - r * 0.28, r * 1.8, r * 0.56),
  pause: (x, y, r) =>
    box(x - r * 0.75, y - r * 0.85, r * 0.5, r * 1.7) + box(x + r * 0.25, y - r * 0.85, r * 0.5, r * 1.7),
  turn: (x, y, r) =>
    polygon([
      [x, y - r * 0.95],
      [x + r, y + r * 0.8],
      [x - r, y + r * 0.8],
    ]),
  square: (x, y, r) =>
    box(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6) + box(x - r * 0.42, y - r * 0.42, r * 0.84, r * 0.84),
  query: (x, y, r) => box(x - r * 0.8, y - r * 0.8, r * 1.6, r * 1.6) + circle(x, y, r * 0.34),
};
