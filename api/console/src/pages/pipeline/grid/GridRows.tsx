import { useMemo } from "preact/hooks";
import { Icon } from "../../../components/Icon";
import { gridCounts, gridPaths, type GridGeometry } from "../../../drawings/grid";
import type { Row } from "../../../drawings/rows";
import type { RowWindow } from "../../../drawings/window";
import type { GridModel } from "./grid_model";

interface GridRowsProps {
  model: GridModel;
  rows: readonly Row[];
  shown: RowWindow;
  geometry: GridGeometry;
}

/** The names of the rows in the window. A click on a group is handled by the grid. */
export function GridLabels({ model, rows, shown, geometry }: GridRowsProps) {
  return useMemo(
    () => (
      <>
        {rows.slice(shown.from, shown.to).map((row, n) => (
          <div
            key={row.key}
            class="grid-label"
            title={row.key}
            style={{
              transform: `translateY(${(shown.from + n) * geometry.rowHeight}px)`,
              paddingLeft: `${indent(row)}px`,
            }}
          >
            {row.kind === "group" ? <GroupLabel row={row} /> : <span class="clip">{row.label}</span>}
            {row.kind === "task" && model.tasks[row.task]?.mapped && (
              <span class="grid-mapped" title="Mapped">
                [ ]
              </span>
            )}
          </div>
        ))}
      </>
    ),
    [model, rows, shown, geometry],
  );
}

function indent(row: Row): number {
  return 12 + row.depth * 14 + (row.kind === "group" ? 0 : 18);
}

function GroupLabel({ row }: { row: Extract<Row, { kind: "group" }> }) {
  return (
    <button type="button" class="grid-fold" data-group={row.key} aria-expanded={row.open} tabIndex={-1}>
      <Icon name={row.open ? "down" : "right"} />
      <span class="clip">{row.label}</span>
      <span class="quiet">{row.tasks.length}</span>
    </button>
  );
}

/** The cells of the window: one path per state and column, and a text where several task runs are counted. */
export function GridCellPaths({ model, rows, shown, geometry }: GridRowsProps) {
  return useMemo(() => {
    const { columnWidth, rowHeight } = geometry;
    return (
      <svg
        class="grid-paths"
        width={model.cells.columns * columnWidth}
        height={rows.length * rowHeight}
        aria-hidden="true"
      >
        {gridPaths(rows, model.cells, shown.from, shown.to, geometry).map(({ column, state, d }) => (
          <path key={`${column} ${state}`} class={`fill-${state}`} fill-rule="evenodd" d={d} />
        ))}
        {gridCounts(rows, model.cells, shown.from, shown.to).map((mark) => (
          <text
            key={`${mark.row} ${mark.column}`}
            class={`grid-count fill-${mark.state}`}
            x={(mark.column + 0.5) * columnWidth + (mark.state === "success" ? 0 : 4)}
            y={(mark.row + 0.5) * rowHeight + 3.5}
          >
            {mark.text}
          </text>
        ))}
      </svg>
    );
  }, [model, rows, shown, geometry]);
}
