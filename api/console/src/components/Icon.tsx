// Line icons on a grid of 20. They are decoration: the word stands beside them, or in the label of the control.

const drawings = {
  now: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14M10 6v4l3 2",
  pipelines: "M3 5h14M3 10h14M3 15h9",
  runs: "M3 5h7M6 10h9M10 15h7",
  connectors: "M7 3v4M13 3v4M5 7h10v3a5 5 0 0 1-10 0zM10 15v3",
  people:
    "M7.5 9.5a2.75 2.75 0 1 0 0-5.5 2.75 2.75 0 0 0 0 5.5M2.5 16c0-2.5 2-4.2 5-4.2s5 1.7 5 4.2M13 4.3a2.6 2.6 0 0 1 0 5M14.6 12.2c1.8.5 2.9 1.9 2.9 3.8",
  audit: "M5 3h7l3 3v11H5zM8 9h4M8 12h4",
  key: "M7 13a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M10 8.5h7.5M15 8.5v3",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11M13.2 13.2 17 17",
  alert: "M10 3 18 17H2zM10 8v4M10 14.5v.1",
  lock: "M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9",
  check: "m4 10.5 4 4 8-9",
  close: "M5 5l10 10M15 5 5 15",
  down: "m5 8 5 5 5-5",
  right: "m8 5 5 5-5 5",
  left: "m12 5-5 5 5 5",
  up: "m5 12 5-5 5 5",
  menu: "M3 5h14M3 10h14M3 15h14",
  plus: "M10 4v12M4 10h12",
  eye: "M2 10s3-5.5 8-5.5S18 10 18 10s-3 5.5-8 5.5S2 10 2 10M10 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4",
  external: "M8 5H4v11h11v-4M11 3h6v6M17 3l-8 8",
  refresh: "M16 6v4h-4M4 14v-4h4M15.5 10A5.8 5.8 0 0 0 5 7M4.5 10A5.8 5.8 0 0 0 15 13",
  play: "M6 4l10 6-10 6z",
  comment: "M3 4h14v10H9l-4 3v-3H3z",
  send: "M17 3 3 9l5.5 2.5L11 17zM8.5 11.5 17 3",
  sun: "M10 13.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  table: "M3 4h14v12H3zM3 8h14M8 8v8",
  chart: "M3 16h14M6 13V9M10 13V5M14 13v-6",
  edit: "M4 16l1-4 8-8 3 3-8 8z",
  trash: "M4 6h12M8 6V4h4v2M6 6l.7 11h6.6L14 6",
  pause: "M7 5v10M13 5v10",
  more: "M4.5 10h.1M10 10h.1M15.5 10h.1",
  filter: "M3 5h14M6 10h8M8.5 15h3",
} as const;

export type IconName = keyof typeof drawings;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" aria-hidden="true">
      <path d={drawings[name]} />
    </svg>
  );
}
