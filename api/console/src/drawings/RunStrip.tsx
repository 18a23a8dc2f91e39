import { useMemo, useRef, useState } from "preact/hooks";
import { paths } from "../app/paths";
import { navigate } from "../app/router";
import { CloseFoot, Dialog } from "../components/Dialog";
import { StateLabel } from "../components/State";
import { Time } from "../components/Time";
import { duration, exact } from "../data/format";
import "./drawings.css";
import { addCounts, countsText } from "./counts";
import { labelOf, stateOf } from "./states";
import { STRIP, runSeconds, stripPaths, stripRunAt, stripWidth, type StripRun } from "./strip";
import { hideTip, showTip } from "./tip";

interface RunStripProps {
  slug: string;
  /** The name of the pipeline. */
  name: string;
  /** The newest first. */
  runs: readonly StripRun[];
}

/** A bar per run of a pipeline, the newest at the right. A click on a bar goes to its run; Enter opens a table. */
export function RunStrip({ slug, name, runs }: RunStripProps) {
  const [asTable, setAsTable] = useState(false);
  const drawn = useMemo(() => stripPaths(runs, Date.now()), [runs]);
  const drawing = useRef<SVGSVGElement>(null);
  const width = stripWidth();
  const runAt = (event: MouseEvent) => {
    const box = drawing.current?.getBoundingClientRect();
    const place = box && stripRunAt(((event.clientX - box.left) / box.width) * width, runs.length);
    return place === null || place === undefined ? undefined : runs[place];
  };
  const point = (event: PointerEvent) => {
    const run = runAt(event);
    if (run === undefined) hideTip();
    else showTip(tipOf(run), event.clientX, event.clientY);
  };
  const open = (event: MouseEvent) => {
    hideTip();
    const run = isByMouse(event) ? runAt(event) : undefined;
    if (run === undefined) setAsTable(true);
    else navigate(paths.run(slug, run.id));
  };
  if (runs.length === 0) return <span class="quiet small">No runs yet</span>;
  return (
    <>
      <button
        type="button"
        class="strip-button"
        aria-haspopup="dialog"
        onPointerMove={point}
        onPointerLeave={hideTip}
        onClick={open}
      >
        <svg
          ref={drawing}
          class="run-strip"
          width={width}
          height={STRIP.height}
          viewBox={`0 0 ${width} ${STRIP.height}`}
          role="img"
          aria-label={summary(runs)}
        >
          {drawn.map(({ state, d }) => (
            <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
          ))}
        </svg>
      </button>
      {asTable && <StripTable {...{ slug, name, runs }} close={() => setAsTable(false)} />}
    </>
  );
}

/** The keyboard has no point, and a finger covers several bars. */
function isByMouse(event: MouseEvent): boolean {
  return event.detail > 0 && (event as Partial<PointerEvent>).pointerType !== "touch";
}

function StripTable({ slug, name, runs, close }: RunStripProps & { close(): void }) {
  const shown = runs.slice(0, STRIP.bars);
  return (
    <Dialog
      title={shown.length === 1 ? `The run of ${name}` : `Last ${shown.length} runs of ${name}`}
      close={close}
    >
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Started</th>
            <th scope="col">State</th>
            <th scope="col" class="number">
              Duration
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map((run) => (
            <tr key={run.id}>
              <td>
                <a href={paths.run(slug, run.id)}>
                  <Time at={run.started_at} none="Not started" />
                </a>
              </td>
              <td>
                <StateLabel status={run.status} />
              </td>
              <td class="number">{duration(runSeconds(run, Date.now()))}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <CloseFoot close={close} />
    </Dialog>
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
