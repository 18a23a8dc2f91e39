import { useMemo, useState } from "preact/hooks";
import type { RunDetail, TaskNode } from "../../../api/model";
import { Chips } from "../../../components/Chips";
import { Blank } from "../../../components/Load";
import { StateShape } from "../../../components/State";
import { useNow } from "../../../data/clock";
import { count } from "../../../data/format";
import { countsOf, type StateCount } from "../../../drawings/counts";
import { ganttBar, ganttRange } from "../../../drawings/gantt";
import { instant } from "../../../drawings/scale";
import { labelOf, stateOf, type StateName } from "../../../drawings/states";
import { TaskTable } from "./TaskTable";
import { filterTasks, flatLines, groupedLines, type Order } from "./task_rows";
import "./tasks.css";

interface TaskPanelProps {
  run: RunDetail;
  graph: readonly TaskNode[];
  /** What the tasks are filtered by at first: a task of the grid, say. */
  text: string;
  selected: string | null;
  select: (taskRunId: string) => void;
}

/** The run's tasks: a table whose last column is a Gantt chart on one axis of time. */
export function TaskPanel({ run, graph, text: first, selected, select }: TaskPanelProps) {
  const [states, setStates] = useState<ReadonlySet<StateName>>(new Set());
  const [text, setText] = useState(first);
  const [order, setOrder] = useState<Order>("graph");
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());
  const running = run.status === "running" || run.status === "queued";
  const now = useNow(running ? 2 : 0);
  const found = useMemo(() => filterTasks(run.tasks, { states, text }), [run.tasks, states, text]);
  const lines = useMemo(
    () => (order === "graph" ? groupedLines(found, graph, toggled) : flatLines(found, order, now)),
    [found, graph, toggled, order, order === "duration" ? now : 0],
  );
  const bars = useMemo(() => run.tasks.map(ganttBar), [run.tasks]);
  const range = useMemo(
    () => ganttRange(bars, instant(run.queued_at ?? run.started_at), instant(run.ended_at), now),
    [bars, run.queued_at, run.started_at, run.ended_at, now],
  );
  const toggle = <T,>(set: ReadonlySet<T>, value: T) => {
    const next = new Set(set);
    if (!next.delete(value)) next.add(value);
    return next;
  };
  return (
    <section class="panel" aria-label="Tasks">
      <div class="panel-head row-wrap">
        <h2>Tasks</h2>
        <StateFilter run={run} states={states} toggle={(state) => setStates(toggle(states, state))} />
        <div class="row push">
          <input
            type="search"
            class="input tool-search"
            placeholder="Find tasks"
            aria-label="Find tasks"
            data-search
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
          <label class="inline-field">
            <span class="quiet">Order</span>
            <select
              class="select"
              value={order}
              onChange={({ currentTarget }) => setOrder(currentTarget.value as Order)}
            >
              <option value="graph">Graph</option>
              <option value="started">Start</option>
              <option value="duration">Duration</option>
            </select>
          </label>
        </div>
      </div>
      {lines.length === 0 ? (
        <Blank title={run.tasks.length === 0 ? "This run has no tasks yet" : "No task fits the filter"} />
      ) : (
        <TaskTable
          lines={lines}
          range={range}
          now={now}
          selected={selected}
          select={select}
          toggle={(key) => setToggled(toggle(toggled, key))}
        />
      )}
    </section>
  );
}

interface StateFilterProps {
  run: RunDetail;
  states: ReadonlySet<StateName>;
  toggle: (state: StateName) => void;
}

/** How many tasks are in which state; a click shows only those. */
function StateFilter({ run, states, toggle }: StateFilterProps) {
  const counts = useMemo(() => {
    const object: Record<string, number> = {};
    for (const { status } of run.tasks) object[stateOf(status)] = (object[stateOf(status)] ?? 0) + 1;
    return countsOf(object);
  }, [run.tasks]);
  return (
    <Chips
      label="Show only tasks that are"
      values={counts.map(({ state }) => state)}
      isChosen={(state) => states.has(state)}
      toggle={toggle}
      text={(state) => (
        <>
          <StateShape status={state} />
          {labelOf(state)}
          <span class="chip-count">{counted(counts, state)}</span>
        </>
      )}
    />
  );
}

function counted(counts: readonly StateCount[], state: StateName): string {
  return count(counts.find((one) => one.state === state)?.count ?? 0);
}
