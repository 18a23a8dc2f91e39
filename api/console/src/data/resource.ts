// Loading data: what was read before is shown at once and read again behind it; a failure keeps what is shown.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { reachable } from "../api/client";
import { type Failure, asFailure } from "../api/failure";
import { retryMillis } from "./retry";

export interface Resource<T> {
  data: T | undefined;
  failure: Failure | null;
  /** Whether a request is under way. */
  loading: boolean;
  /** Whether `data` belongs to an earlier key: another filter, say, whose answer is still to come. */
  outdated: boolean;
  refresh(): void;
  /** Changes what is shown, before or without a request. */
  change(update: (data: T) => T): void;
}

interface Options {
  /** Reads again after so many seconds. */
  everySeconds?: number;
  /** Shows the data of the previous key until the new one has answered. */
  keepPrevious?: boolean;
  /** Shows nothing before the answer, also if the same was read before. */
  fresh?: boolean;
}

interface Shown<T> {
  key: string | null;
  data: T | undefined;
  failure: Failure | null;
  loading: boolean;
}

const CACHE_SIZE = 100;
const cache = new Map<string, unknown>();

function remember(key: string, data: unknown): void {
  cache.delete(key);
  cache.set(key, data);
  if (cache.size > CACHE_SIZE) cache.delete(cache.keys().next().value ?? "");
}

/** Forgets everything that was read, for instance because another person signs in. */
export function forgetAll(): void {
  cache.clear();
}

/** Reads with `load` whenever `key` changes; with `null` as the key nothing is read. */
export function useResource<T>(
  key: string | null,
  load: (signal: AbortSignal) => Promise<T>,
  options: Options = {},
): Resource<T> {
  const [shown, setShown] = useState<Shown<T>>(() => initial<T>(key, options));
  const [turn, setTurn] = useState(0);
  const loader = useRef(load);
  loader.current = load;
  const refresh = useCallback(() => setTurn((value) => value + 1), []);

  useEffect(() => {
    if (key === null) return setShown(initial<T>(null, options));
    const controller = new AbortController();
    let retry: number | undefined;
    setShown((before) => (before.key === key ? { ...before, loading: true } : opened(before, key, options)));
    loader.current(controller.signal).then(
      (data) => {
        if (controller.signal.aborted) return;
        remember(key, data);
        setShown({ key, data, failure: null, loading: false });
      },
      (error: unknown) => {
        if (controller.signal.aborted) return;
        const failure = asFailure(error);
        setShown((before) => ({
          ...before,
          key,
          data: before.key === key ? before.data : undefined,
          failure,
          loading: false,
        }));
        const millis = retryMillis(failure);
        if (millis !== null) retry = window.setTimeout(refresh, millis);
      },
    );
    return () => {
      controller.abort();
      window.clearTimeout(retry);
    };
  }, [key, turn]);

  useEffect(() => reachable.watch((is) => is && refresh()), [refresh]);
  useInterval(refresh, options.everySeconds ?? 0);

  const change = useCallback((update: (data: T) => T) => {
    setShown((before) => {
      if (before.data === undefined) return before;
      const data = update(before.data);
      if (before.key) remember(before.key, data);
      return { ...before, data };
    });
  }, []);
  const current = shown.key === key ? shown : opened(shown, key, options);
  return { ...current, outdated: shown.key !== key, refresh, change };
}

function initial<T>(key: string | null, { fresh }: Options): Shown<T> {
  const known = key === null || fresh ? undefined : (cache.get(key) as T | undefined);
  return { key, data: known, failure: null, loading: key !== null };
}

function opened<T>(before: Shown<T>, key: string | null, options: Options): Shown<T> {
  const next = initial<T>(key, options);
  if (next.data !== undefined || !options.keepPrevious || key === null) return next;
  // The key stays the previous one, so that the data counts as outdated until the answer arrives.
  return { ...before, failure: null, loading: true };
}

function useInterval(call: () => void, seconds: number): void {
  useEffect(() => {
    if (seconds <= 0) return;
    const timer = window.setInterval(() => !document.hidden && call(), seconds * 1000);
    return () => window.clearInterval(timer);
  }, [call, seconds]);
}
