// A long list of which only the pages in view are read.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { reachable } from "../api/client";
import { type Failure, asFailure } from "../api/failure";
import type { ListAnswer } from "../api/lists";
import { useRetry } from "./retry";

export const PAGE_SIZE = 50;

export interface PagedList<T> {
  total: number | null;
  isBound: boolean;
  failure: Failure | null;
  /** Whether the first page of the present key is still to come. */
  loading: boolean;
  row(index: number): T | undefined;
  /** Reads the pages of these rows that are not there yet. */
  need(first: number, end: number): void;
  /** Replaces rows by their id, in their places. */
  replace(rows: T[]): void;
  has(id: string): boolean;
  refresh(): void;
}

interface State<T> {
  key: string;
  pages: Map<number, T[]>;
  total: number | null;
  isBound: boolean;
  failure: Failure | null;
}

type PageReader<T> = (page: number, signal: AbortSignal) => Promise<ListAnswer<T>>;

const empty = <T>(key: string): State<T> => ({
  key,
  pages: new Map(),
  total: null,
  isBound: false,
  failure: null,
});

export function usePages<T extends { id: string }>(key: string, read: PageReader<T>): PagedList<T> {
  const [state, setState] = useState<State<T>>(() => empty(key));
  const [turn, setTurn] = useState(0);
  const reader = useRef(read);
  reader.current = read;
  const running = useRef(new Map<number, AbortController>());

  const load = useCallback(
    (page: number) => {
      if (running.current.has(page)) return;
      const controller = new AbortController();
      running.current.set(page, controller);
      const finish = (change: (before: State<T>) => State<T>) => {
        if (controller.signal.aborted) return;
        running.current.delete(page);
        setState((before) => change(before.key === key ? before : empty(key)));
      };
      reader.current(page, controller.signal).then(
        ({ rows, total, isBound }) =>
          finish((before) => ({
            ...before,
            pages: new Map(before.pages).set(page, rows),
            total,
            isBound,
            failure: null,
          })),
        (error: unknown) => finish((before) => ({ ...before, failure: asFailure(error) })),
      );
    },
    [key],
  );

  const shown = useRef(state);
  shown.current = state;
  useEffect(() => {
    load(1);
    if (shown.current.key === key) for (const page of shown.current.pages.keys()) load(page);
    const current = running.current;
    return () => {
      for (const controller of current.values()) controller.abort();
      current.clear();
    };
  }, [load, turn]);

  const refresh = useCallback(() => setTurn((value) => value + 1), []);
  useEffect(() => reachable.watch((is) => is && refresh()), [refresh]);
  useRetry(state.failure, refresh);

  const need = (first: number, end: number) => {
    if (state.key !== key) return;
    for (let page = Math.floor(first / PAGE_SIZE) + 1; (page - 1) * PAGE_SIZE < end; page++) {
      if (!state.pages.has(page) && page > 1) load(page);
    }
  };
  const replace = useCallback((rows: T[]) => setState((before) => replaced(before, rows)), []);
  const has = (id: string) => [...state.pages.values()].some((rows) => rows.some((row) => row.id === id));
  // The rows of the previous filter stay until those of the new one are there.
  const row = (index: number) => state.pages.get(Math.floor(index / PAGE_SIZE) + 1)?.[index % PAGE_SIZE];
  const { total, isBound, failure } = state;
  return {
    total,
    isBound,
    failure,
    loading: state.key !== key || (total === null && !failure),
    row,
    need,
    replace,
    has,
    refresh,
  };
}

function replaced<T extends { id: string }>(before: State<T>, rows: T[]): State<T> {
  const byId = new Map(rows.map((row) => [row.id, row]));
  const pages = new Map<number, T[]>();
  for (const [page, old] of before.pages) {
    pages.set(page, old.some((row) => byId.has(row.id)) ? old.map((row) => byId.get(row.id) ?? row) : old);
  }
  return { ...before, pages };
}
