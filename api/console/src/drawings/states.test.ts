import { describe, expect, test } from "vitest";
import css from "../styles/tokens.css?raw";
import { type StateName, shapePath, states } from "./states";

type Rgb = [number, number, number];

function token(name: string, theme: 0 | 1): Rgb {
  const pair = new RegExp(`--${name}: light-dark\\((#[0-9a-f]{6}), (#[0-9a-f]{6})\\)`).exec(css);
  const hex = pair?.[theme + 1];
  if (!hex) throw new Error(`no token ${name}`);
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255) as Rgb;
}

const linear = (value: number) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const times = (matrix: number[][], [r, g, b]: Rgb): Rgb =>
  matrix.map(([x = 0, y = 0, z = 0]) => Math.min(1, Math.max(0, x * r + y * g + z * b))) as Rgb;

// Machado, Oliveira and Fernandes 2009, severity 1, on linear light.
const sights: Record<string, number[][]> = {
  normal: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
};

/** The distance of two colours in OKLab. */
function distance(a: Rgb, b: Rgb): number {
  const [x, y] = [oklab(a), oklab(b)];
  return Math.hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2]);
}

function oklab([r, g, b]: Rgb): Rgb {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

const luminance = ([r, g, b]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

// The pairs whose confusion would mislead.
const pairs: [StateName, StateName][] = [
  ["success", "failed"],
  ["success", "running"],
  ["failed", "running"],
  ["success", "upstream_failed"],
  ["failed", "upstream_failed"],
  ["running", "upstream_failed"],
  ["failed", "skipped"],
  ["success", "retrying"],
];

describe.each([
  ["light", 0],
  ["dark", 1],
] as const)("the colours of the %s theme", (_, theme) => {
  const colour = (name: string) => token(name, theme).map(linear) as Rgb;

  test.each(Object.keys(sights))("states differ for readers with %s sight", (sight) => {
    const seen = (state: StateName) => times(sights[sight] ?? [], colour(`state-${state}`));
    const close = pairs
      .filter(([a, b]) => distance(seen(a), seen(b)) < 0.1)
      .map((pair) => pair.join(" and "));
    expect(close).toEqual([]);
  });

  test("shapes stand out from their ground", () => {
    const weak = Object.keys(states).filter(
      (state) => contrast(colour(`state-${state}`), colour("surface")) < 3,
    );
    expect(weak).toEqual([]);
  });

  test.each(["ink", "ink-2", "ink-3", "accent", "danger-text"])(
    "text in %s is readable on every ground",
    (ink) => {
      const grounds = ["page", "surface", "surface-raised", "hover", "selected"];
      expect(grounds.filter((ground) => contrast(colour(ink), colour(ground)) < 4.5)).toEqual([]);
    },
  );
});

test("states that may stand side by side have different shapes", () => {
  const shapes = Object.values(states).map((state) => state.shape);
  // Queued and scheduled both wait, and share a ring.
  expect(new Set(shapes).size).toBe(shapes.length - 1);
  for (const { shape } of Object.values(states))
    expect(shapePath(shape, 7, 7, 6)).toMatch(/^M[-\d. MLAahvVHZz]+$/);
});
