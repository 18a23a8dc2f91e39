// The list of runs under live events: its rows change in place, and what would move them is only counted.
import { useEffect, useRef, useState } from "preact/hooks";
import { type QueryValue, readList } from "../../api/lists";
import type { Run } from "../../api/model";
import type { GrowingList } from "../../data/growing";
import { useLiveBatch } from "../../data/live";

/** How many ids one read takes. */
const BATCH = 200;
const none: ReadonlySet<string> = new Set();

export interface Newer {
  /** How many runs match the filters, have started or changed, and are not among the rows. */
  count: number;
  show(): void;
}

/** `filter` has the parameters of the list's read. */
export function useLiveList(base: string, filter: Record<string, QueryValue>, list: GrowingList<Run>): Newer {
  const [newer, setNewer] = useState(none);
  useEffect(() => setNewer(none), [filter]);
  const current = useRef(filter);
  current.current = filter;
  const add = (found: Run[]) => {
    // The answer may be that of a filter that was left.
    if (current.current === filter) setNewer((before) => new Set([...before, ...found.map(({ id }) => id)]));
  };
  const read = (ids: string[], query: Record<string, QueryValue>, apply: (rows: Run[]) => void) => {
    if (ids.length === 0) return;
    readList<Run>(base, { ...query, id: ids.slice(0, BATCH), size: BATCH }).then(
      ({ rows }) => apply(rows),
      () => undefined,
    );
  };
  useLiveBatch(
    (event) => (event.type === "run" ? event.data.id : null),
    (ids) => {
      if (ids === null) return list.refresh();
      const rows = new Set(list.rows.map((run) => run.id));
      const shown = ids.filter((id) => rows.has(id));
      read(shown, { is_active: "any", include_deleted: true }, list.replace);
      const others = ids.filter((id) => !rows.has(id) && !newer.has(id));
      read(others, filter, add);
    },
  );
  const show = () => {
    setNewer(none);
    list.refresh();
  };
  return { count: newer.size, show };
}
