import { useMemo, useState } from "preact/hooks";
import { readGrid } from "../../../api/grid";
import type { PipelineDetail } from "../../../api/model";
import { Blank, Skeleton } from "../../../components/Load";
import { StateLabel } from "../../../components/State";
import { counted } from "../../../data/format";
import { useLiveBatch } from "../../../data/live";
import { useResource } from "../../../data/resource";
import { cellCounts, parseCells } from "../../../drawings/cells";
import type { StateName } from "../../../drawings/states";
import { Legend } from "../../../drawings/Legend";
import { Twin } from "../../../drawings/Twin";
import { GraphDrawing } from "./GraphDrawing";
import { useGraphLayout } from "./graph_thread";

export type TaskStates = ReadonlyMap<string, StateName>;

/** Wider graphs need scrolling on most screens. */
const WIDE = 1000;
const REFRESH_MILLIS = 2000;

/** The task graph, with the states of the newest run. */
export function GraphView({ slug, pipeline }: { slug: string; pipeline: PipelineDetail }) {
  const { tasks } = pipeline;
  const [open, setOpen] = useState<readonly string[]>([]);
  const [fit, setFit] = useState(false);
  const answer = useGraphLayout(tasks, open);
  const newest = useResource(`graph ${slug} ${pipeline.id}`, (signal) =>
    readGrid(slug, pipeline.id, 1, null, signal),
  );
  useLiveBatch(
    (event) => (event.data.pipeline_id === pipeline.id ? event.data.id : null),
    newest.refresh,
    REFRESH_MILLIS,
  );
  const states = useMemo(() => taskStates(newest.data?.grid ?? null), [newest.data]);
  if (tasks.length === 0) {
    return (
      <div class="panel">
        <Blank title="The task graph is not known yet">
          <p>A sync reads it with the next run.</p>
        </Blank>
      </div>
    );
  }
  const foldedCount = answer?.graph.nodes.filter((node) => node.tasks.length > 1).length ?? 0;
  return (
    <Twin
      title="Task graph"
      tools={
        <>
          <span class="quiet small">{counted(tasks.length, "task", "tasks")}</span>
          {foldedCount > 0 && (
            <span class="quiet small">
              {counted(foldedCount, "box stands for several: open it", "boxes stand for several: open one")}{" "}
              with a click
            </span>
          )}
          {open.length > 0 && (
            <button type="button" class="button button-quiet" onClick={() => setOpen([])}>
              Fold all
            </button>
          )}
          {(answer?.layout.width ?? 0) > WIDE && (
            <button type="button" class="button button-quiet" aria-pressed={fit} onClick={() => setFit(!fit)}>
              Fit to width
            </button>
          )}
        </>
      }
      drawing={() =>
        answer === null ? (
          <Skeleton lines={6} what="the graph" />
        ) : (
          <GraphDrawing
            answer={answer}
            states={states}
            fit={fit}
            open={(group) => setOpen([...open, group])}
          />
        )
      }
      table={() => <GraphTable tasks={tasks} states={states} />}
      foot={states.size > 0 && <Legend states={states.values()} />}
    />
  );
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
