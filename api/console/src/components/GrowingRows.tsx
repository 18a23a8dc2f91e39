// The rows of a list that is read on from its end, or why there are none, and the button that reads on.
import type { ComponentChildren } from "preact";
import type { GrowingList } from "../data/growing";
import { FailureBlank, NotRead, Skeleton } from "./Load";

interface GrowingRowsProps<T> {
  list: GrowingList<T>;
  /** What is loaded, in words for a sentence: `the syncs`. */
  what: string;
  /** The lines of the skeleton. */
  lines: number;
  /** Whether a row is shown; all rows that were read, unless some are hidden. */
  hasRows?: boolean;
  /** What is shown instead of an empty list. */
  empty: ComponentChildren;
  children: ComponentChildren;
}

export function GrowingRows<T>(props: GrowingRowsProps<T>) {
  const { list, what, lines, empty, children } = props;
  const { hasRows = list.rows.length > 0 } = props;
  return (
    <>
      {hasRows ? (
        children
      ) : list.failure ? (
        <FailureBlank failure={list.failure} what={what} retry={list.retry} />
      ) : list.loading ? (
        <Skeleton lines={lines} what={what} />
      ) : (
        empty
      )}
      {hasRows && list.failure && <NotRead failure={list.failure} what={what} retry={list.retry} />}
      {list.hasMore && list.rows.length > 0 && !list.failure && (
        <p class="panel-body">
          <button type="button" class="button" disabled={list.loading} onClick={list.more}>
            Show more
          </button>
        </p>
      )}
    </>
  );
}
