import type { ComponentChildren } from "preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { readGrid } from "../../../api/grid";
import type { PipelineDetail } from "../../../api/model";
import { Blank, Skeleton } from "../../../components/Load";
import { StateLabel } from "../../../components/State";
import { counted } from "../../../data/format";
import { useLiveBatch } from "../../../data/live";
import { useResource } from "../../../data/resource";
import { cellCounts, parseCells } from "../../../drawings/cells";
import type { GraphAnswer } from "../../../drawings/graph_messages";
import { useWidth } from "../../../drawings/scroll_window";
import type { StateName } from "../../../drawings/states";
import { Legend } from "../../../drawings/Legend";
import { Twin } from "../../../drawings/Twin";
import { GraphDrawing, drawingWidth } from "./GraphDrawing";
import { useGraphLayout } from "./graph_thread";

export type TaskStates = ReadonlyMap<string, StateName>;

const REFRESH_MILLIS = 2000;

interface GraphProps {
  slug: string;
  pipeline: PipelineDetail;
}

/** The task graph, with the states of the newest run. */
export function GraphView(props: GraphProps) {
  if (props.pipeline.tasks.length > 0) return <Graph {...props} />;
  return (
    <div class="panel">
      <Blank title="The task graph is not known yet">
        <p>A sync reads it with the next run.</p>
      </Blank>
    </div>
  );
}

function Graph({ slug, pipeline }: GraphProps) {
  const { tasks } = pipeline;
  const box = useRef<HTMLDivElement>(null);
  const room = useWidth(box, window.innerWidth);
  const [open, setOpen] = useState<readonly string[]>([]);
  const [fit, setFit] = useState(false);
  const answer = useGraphLayout(tasks, open);
  const states = useNewestStates(slug, pipeline.id);
  const isWide = answer !== null && drawingWidth(answer) > room;
  return (
    <div ref={box}>
      <Twin
        title="Task graph"
        tools={
          <>
            <Sizes tasks={tasks.length} answer={answer} />
            {open.length > 0 && <Tool click={() => setOpen([])}>Fold all</Tool>}
            {isWide && (
              <Tool pressed={fit} click={() => setFit(!fit)}>
                Fit to width
              </Tool>
            )}
          </>
        }
        drawing={() => (
          <Drawn {...{ answer, states }} fit={fit && isWide} open={(one) => setOpen([...open, one])} />
        )}
        table={() => <GraphTable tasks={tasks} states={states} />}
        foot={states.size > 0 && <Legend states={states.values()} />}
      />
    </div>
  );
}

interface ToolProps {
  /** Whether it is on, of one that is switched. */
  pressed?: boolean;
  click: () => void;
  children: ComponentChildren;
}

function Tool({ pressed, click, children }: ToolProps) {
  return (
    <button type="button" class="button button-quiet" aria-pressed={pressed} onClick={click}>
      {children}
    </button>
  );
}

interface DrawnProps {
  answer: GraphAnswer | null;
  states: TaskStates;
  fit: boolean;
  open: (group: string) => void;
}

function Drawn({ answer, ...rest }: DrawnProps) {
  return answer === null ? (
    <Skeleton lines={6} what="the graph" />
  ) : (
    <GraphDrawing answer={answer} {...rest} />
  );
}

/** How many tasks there are, and how many boxes stand for several of them. */
function Sizes({ tasks, answer }: { tasks: number; answer: GraphAnswer | null }) {
  const folded = answer?.graph.nodes.filter((node) => node.tasks.length > 1).length ?? 0;
  return (
    <>
      <span class="quiet small">{counted(tasks, "task", "tasks")}</span>
      {folded > 0 && (
        <span class="quiet small">
          {counted(folded, "box stands for several: open it", "boxes stand for several: open one")} with a
          click
        </span>
      )}
    </>
  );
}

function useNewestStates(slug: string, pipelineId: string): TaskStates {
  const newest = useResource(`graph ${slug} ${pipelineId}`, (signal) =>
    readGrid(slug, pipelineId, 1, null, signal),
  );
  useLiveBatch(
    (event) => (event.data.pipeline_id === pipelineId ? event.data.id : null),
    newest.refresh,
    REFRESH_MILLIS,
  );
  return useMemo(() => taskStates(newest.data?.grid ?? null), [newest.data]);
}

function taskStates(
  grid: { tasks: { task_id: string }[]; runs: unknown[]; cells: string } | null,
): TaskStates {
  const states = new Map<string, StateName>();
  if (grid === null || grid.runs.length === 0) return states;
  const cells = parseCells(grid.cells, grid.tasks.length, grid.runs.length);
  grid.tasks.forEach(({ task_id }, row) => {
    const first = cellCounts(cells, row, 0)[0];
    if (first !== undefined) states.set(task_id, first.state);
  });
  return states;
}

const MOST_ROWS = 500;

function GraphTable({ tasks, states }: { tasks: PipelineDetail["tasks"]; states: TaskStates }) {
  return (
    <div class="panel-scroll">
      <table class="table">
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col">Newest run</th>
            <th scope="col">Operator</th>
            <th scope="col">After</th>
            <th scope="col">Before</th>
          </tr>
        </thead>
        <tbody>
          {tasks.slice(0, MOST_ROWS).map((task) => (
            <tr key={task.task_id}>
              <td>{task.task_id}</td>
              <td>
                {states.has(task.task_id) ? <StateLabel status={states.get(task.task_id) ?? ""} /> : "–"}
              </td>
              <td>{task.operator ?? "–"}</td>
              <td>{task.upstream.join(", ") || "–"}</td>
              <td>{task.downstream.join(", ") || "–"}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {tasks.length > MOST_ROWS && (
        <p class="quiet small twin-foot">
          The first {MOST_ROWS} of {tasks.length} tasks.
        </p>
      )}
    </div>
  );
}
