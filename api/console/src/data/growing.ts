// A list that is read on from its end: each further page starts after the last row, so nothing is repeated or missed.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { reachable } from "../api/client";
import { type Failure, asFailure } from "../api/failure";
import type { ListAnswer } from "../api/lists";
import { useRetry } from "./retry";

export interface GrowingList<T> {
  rows: T[];
  total: number | null;
  isBound: boolean;
  hasMore: boolean;
  loading: boolean;
  failure: Failure | null;
  /** Reads the next page. After a failure nothing more is read until it is tried again. */
  more(): void;
  /** Reads the page that failed again. */
  retry(): void;
  refresh(): void;
  replace(rows: T[]): void;
}

interface State<T> {
  key: string;
  answer: ListAnswer<T> | null;
  failure: Failure | null;
  loading: boolean;
}

/** Where a list is read on: after a cursor, or at a page where the API gives none. */
export interface Place {
  cursor: string | null;
  page: number;
}

type Reader<T> = (place: Place, signal: AbortSignal) => Promise<ListAnswer<T>>;

export function useGrowingList<T extends { id: string }>(
  key: string,
  size: number,
  read: Reader<T>,
): GrowingList<T> {
  const [state, setState] = useState<State<T>>({ key, answer: null, failure: null, loading: true });
  const [turn, setTurn] = useState(0);
  const reader = useRef(read);
  reader.current = read;
  const controller = useRef(new AbortController());
  const after = useRef<ListAnswer<T> | null>(null);

  const load = useCallback(
    (before: ListAnswer<T> | null) => {
      const { signal } = controller.current;
      after.current = before;
      setState((old) => ({ ...old, key, loading: true, failure: null }));
      const place = {
        cursor: before?.nextCursor ?? null,
        page: Math.floor((before?.rows.length ?? 0) / size) + 1,
      };
      reader.current(place, signal).then(
        (answer) =>
          !signal.aborted && setState({ key, answer: joined(before, answer), failure: null, loading: false }),
        (error: unknown) =>
          !signal.aborted && setState((old) => ({ ...old, failure: asFailure(error), loading: false })),
      );
    },
    [key, size],
  );

  useEffect(() => {
    controller.current = new AbortController();
    load(null);
    return () => controller.current.abort();
  }, [load, turn]);

  const refresh = useCallback(() => setTurn((value) => value + 1), []);
  useEffect(() => reachable.watch((is) => is && refresh()), [refresh]);
  const retry = useCallback(() => load(after.current), [load]);
  useRetry(state.failure, retry);
  const { answer, failure, loading } = state;
  const rows = answer?.rows ?? [];
  const hasMore = answer !== null && (answer.nextCursor !== null || rows.length < answer.total);
  const more = () => {
    if (hasMore && !loading && !failure && state.key === key) load(answer);
  };
  const replace = useCallback((changed: T[]) => {
    const byId = new Map(changed.map((row) => [row.id, row]));
    setState((old) =>
      old.answer
        ? { ...old, answer: { ...old.answer, rows: old.answer.rows.map((row) => byId.get(row.id) ?? row) } }
        : old,
    );
  }, []);
  return {
    rows,
    total: answer?.total ?? null,
    isBound: answer?.isBound ?? false,
    hasMore,
    loading,
    failure,
    more,
    retry,
    refresh,
    replace,
  };
}

function joined<T extends { id: string }>(before: ListAnswer<T> | null, next: ListAnswer<T>): ListAnswer<T> {
  if (!before) return next;
  const known = new Set(before.rows.map((row) => row.id));
  return { ...next, rows: [...before.rows, ...next.rows.filter((row) => !known.has(row.id))] };
}
