import { expect, test, vi } from "vitest";
import type { RunSummary } from "../../../api/model";
import { parseCells } from "../../../drawings/cells";
import { layoutRows } from "../../../drawings/rows";
import { GridPointer } from "./grid_pointer";

const key = (name: string) => {
  const target = { closest: () => null } as unknown as EventTarget;
  return { key: name, target, preventDefault: vi.fn() } as unknown as KeyboardEvent;
};

test("Space opens or folds the group in whose row the cursor is, and nothing else", () => {
  const tasks = [{ task_id: "load.a", name: "a", mapped: false }];
  const toggle = vi.fn();
  const pointer = new GridPointer();
  pointer.parts = {
    slug: "demo",
    model: {
      tasks,
      runs: [{ id: "1" } as RunSummary],
      cells: parseCells("s", 1, 1),
      order: [0],
      groups: ["load"],
    },
    rows: layoutRows(tasks, [0], new Set()),
    geometry: { columnWidth: 24, rowHeight: 24, cellSize: 14 },
    labelWidth: 100,
    toggle,
  };
  pointer.settle();
  pointer.key(key(" "));
  expect(toggle).not.toHaveBeenCalled();
  pointer.key(key("ArrowDown"));
  pointer.key(key(" "));
  expect(toggle.mock.calls).toEqual([["load"]]);
  pointer.key(key("ArrowDown"));
  pointer.key(key(" "));
  expect(toggle).toHaveBeenCalledTimes(1);
});
