import { useState } from "preact/hooks";
import { paths } from "../../../app/paths";
import { counted, moment } from "../../../data/format";
import { runTime } from "../../../data/run_times";
import { countsText } from "../../../drawings/counts";
import { rowCounts } from "../../../drawings/grid";
import type { Row } from "../../../drawings/rows";
import { labelOf } from "../../../drawings/states";
import { cellText, type GridModel } from "./grid_model";

const PAGE = 100;

interface GridTableProps {
  slug: string;
  model: GridModel;
  rows: readonly Row[];
}

/** The grid as text: a row per task, the newest run first, a hundred tasks at a time. */
export function GridTable({ slug, model, rows }: GridTableProps) {
  const [page, setPage] = useState(0);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE));
  const at = Math.min(page, pages - 1);
  const columns = model.runs.map((_, column) => column).reverse();
  return (
    <>
      <div class="panel-scroll twin-table" tabIndex={0} role="region" aria-label="Table of tasks and runs">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Task</th>
              {columns.map((column) => (
                <RunHeading key={column} slug={slug} model={model} column={column} />
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(at * PAGE, (at + 1) * PAGE).map((row) => (
              <tr key={row.key}>
                <th scope="row">
                  {row.kind === "group"
                    ? `${row.key} (${counted(row.tasks.length, "task", "tasks")})`
                    : row.key}
                </th>
                {columns.map((column) => (
                  <td key={column} class="nowrap">
                    {shortText(row, model, column)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {pages > 1 && (
        <div class="twin-foot">
          <button type="button" class="button" disabled={at === 0} onClick={() => setPage(at - 1)}>
            Previous tasks
          </button>
          <span>
            {at * PAGE + 1} to {Math.min(rows.length, (at + 1) * PAGE)} of {rows.length}
          </span>
          <button type="button" class="button" disabled={at === pages - 1} onClick={() => setPage(at + 1)}>
            Next tasks
          </button>
        </div>
      )}
    </>
  );
}

function RunHeading({ slug, model, column }: { slug: string; model: GridModel; column: number }) {
  const run = model.runs[column];
  if (run === undefined) return <th scope="col" />;
  const at = runTime(run);
  return (
    <th scope="col">
      <a href={paths.run(slug, run.id)}>{at === null ? run.external_id : moment(at)}</a>
      <br />
      {labelOf(run.status)}
    </th>
  );
}

function shortText(row: Row, model: GridModel, column: number): string {
  const counts = rowCounts(row, model.cells, column);
  if (counts.length === 0) return "–";
  return row.kind === "group" ? countsText(counts) : cellText(row, model.cells, column);
}
