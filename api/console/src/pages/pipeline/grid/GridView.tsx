import { useMemo, useState } from "preact/hooks";
import type { GridPage } from "../../../api/grid";
import type { PipelineDetail } from "../../../api/model";
import { Blank, Load } from "../../../components/Load";
import type { Resource } from "../../../data/resource";
import { Legend } from "../../../drawings/Legend";
import { Twin } from "../../../drawings/Twin";
import { GridDrawing } from "./GridDrawing";
import { GridTable } from "./GridTable";
import {
  gridModel,
  gridRows,
  initiallyFolded,
  shownStates,
  taskCountText,
  type GridModel,
  type RowFilter,
} from "./grid_model";

interface GridViewProps {
  slug: string;
  pipeline: PipelineDetail;
  grid: Resource<GridPage>;
  /** How many runs are shown, and which numbers can be chosen. */
  runs: number;
  choices: readonly number[];
  choose: (runs: number) => void;
  /** Goes back to newer runs; null at the newest. */
  newer: (() => void) | null;
  older: (cursor: string) => void;
}

export function GridView({ grid, ...rest }: GridViewProps) {
  return (
    <Load resource={grid} what="the grid" lines={10}>
      {(page) =>
        page.grid.runs.length === 0 ? (
          <div class="panel">
            <Blank title="This pipeline has not run yet">
              <p>Its first run appears here within seconds.</p>
            </Blank>
          </div>
        ) : (
          <LoadedGrid page={page} {...rest} />
        )
      }
    </Load>
  );
}

function LoadedGrid({
  slug,
  pipeline,
  page,
  runs,
  choices,
  choose,
  newer,
  older,
}: Omit<GridViewProps, "grid"> & { page: GridPage }) {
  const model = useMemo(() => gridModel(page.grid, pipeline.tasks), [page.grid, pipeline.tasks]);
  const [folded, setFolded] = useState(() => initiallyFolded(model));
  const [filter, setFilter] = useState<RowFilter>({ text: "", failed: false });
  const rows = useMemo(() => gridRows(model, folded, filter), [model, folded, filter]);
  const states = useMemo(() => shownStates(model), [model]);
  const toggle = (group: string) => {
    const next = new Set(folded);
    if (!next.delete(group)) next.add(group);
    setFolded(next);
  };
  const { olderCursor } = page;
  return (
    <Twin
      title="Tasks and runs"
      tools={
        <>
          <span class="quiet small">{taskCountText(model)}</span>
          <GridTools
            model={model}
            folded={folded}
            setFolded={setFolded}
            filter={filter}
            setFilter={setFilter}
          />
        </>
      }
      drawing={() =>
        rows.length === 0 ? (
          <Blank title="No task fits the filter" />
        ) : (
          <GridDrawing slug={slug} model={model} rows={rows} toggle={toggle} />
        )
      }
      table={() => <GridTable slug={slug} model={model} rows={rows} />}
      foot={
        <>
          <Legend states={states} />
          <div class="row push">
            <label class="inline-field">
              <span class="quiet">Runs</span>
              <select
                class="select"
                value={runs}
                onChange={({ currentTarget }) => choose(Number(currentTarget.value))}
              >
                {choices.map((count) => (
                  <option key={count} value={count}>
                    {count}
                  </option>
                ))}
              </select>
            </label>
            <button
              type="button"
              class="button"
              disabled={olderCursor === null}
              onClick={() => olderCursor && older(olderCursor)}
            >
              Older
            </button>
            <button type="button" class="button" disabled={newer === null} onClick={() => newer?.()}>
              Newer
            </button>
          </div>
        </>
      }
    />
  );
}

interface GridToolsProps {
  model: GridModel;
  folded: ReadonlySet<string>;
  setFolded: (groups: Set<string>) => void;
  filter: RowFilter;
  setFilter: (filter: RowFilter) => void;
}

function GridTools({ model, folded, setFolded, filter, setFilter }: GridToolsProps) {
  return (
    <>
      <input
        type="search"
        class="input tool-search"
        placeholder="Find tasks"
        aria-label="Find tasks"
        data-search
        value={filter.text}
        onInput={({ currentTarget }) => setFilter({ ...filter, text: currentTarget.value })}
      />
      <label class="check small">
        <input
          type="checkbox"
          checked={filter.failed}
          onChange={({ currentTarget }) => setFilter({ ...filter, failed: currentTarget.checked })}
        />
        Only failures
      </label>
      {model.groups.length > 0 && (
        <button
          type="button"
          class="button button-quiet"
          onClick={() => setFolded(new Set(folded.size > 0 ? [] : model.groups))}
        >
          {folded.size > 0 ? "Open all groups" : "Fold all groups"}
        </button>
      )}
    </>
  );
}
