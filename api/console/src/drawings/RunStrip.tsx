import { useMemo } from "preact/hooks";
import { paths } from "../app/paths";
import { navigate } from "../app/router";
import { duration, exact } from "../data/format";
import "./drawings.css";
import { addCounts, countsText } from "./counts";
import { labelOf, stateOf } from "./states";
import { STRIP, runSeconds, stripPaths, stripRunAt, stripWidth, type StripRun } from "./strip";
import { hideTip, showTip } from "./tip";

interface RunStripProps {
  slug: string;
  /** The newest first. */
  runs: readonly StripRun[];
}

/** A bar per run of a pipeline, the newest at the right. A click on a bar goes to its run. */
export function RunStrip({ slug, runs }: RunStripProps) {
  const drawn = useMemo(() => stripPaths(runs, Date.now()), [runs]);
  const width = stripWidth();
  const runAt = (event: MouseEvent) => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    const place = stripRunAt(((event.clientX - box.left) / box.width) * width, runs.length);
    return place === null ? undefined : runs[place];
  };
  const point = (event: PointerEvent) => {
    const run = runAt(event);
    if (run === undefined) hideTip();
    else showTip(tipOf(run), event.clientX, event.clientY);
  };
  const open = (event: MouseEvent) => {
    const run = runAt(event);
    if (run === undefined) return;
    hideTip();
    navigate(paths.run(slug, run.id));
  };
  if (runs.length === 0) return <span class="quiet small">No runs yet</span>;
  return (
    <svg
      class="run-strip"
      width={width}
      height={STRIP.height}
      viewBox={`0 0 ${width} ${STRIP.height}`}
      role="img"
      aria-label={summary(runs)}
      onPointerMove={point}
      onPointerLeave={hideTip}
      onClick={open}
    >
      {drawn.map(({ state, d }) => (
        <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
      ))}
    </svg>
  );
}

const tips = new WeakMap<StripRun, ReturnType<typeof makeTip>>();

function tipOf(run: StripRun) {
  let tip = tips.get(run);
  if (tip === undefined) tips.set(run, (tip = makeTip(run)));
  return tip;
}

function makeTip(run: StripRun) {
  const seconds = runSeconds(run, Date.now());
  const lines = [run.started_at ? exact(run.started_at) : "Not started"];
  if (seconds !== null) lines.push(duration(seconds));
  return { state: stateOf(run.status), title: labelOf(run.status), lines };
}

function summary(runs: readonly StripRun[]): string {
  const shown = runs.slice(0, STRIP.bars);
  const counts = addCounts(shown.map((run) => [{ state: stateOf(run.status), count: 1 }]));
  const newest = shown[0];
  const last = newest === undefined ? "" : `, the newest ${labelOf(newest.status).toLowerCase()}`;
  return `Last ${shown.length} runs: ${countsText(counts)}${last}`;
}
