// Hooks on the live events of the open space.
import { useEffect, useRef } from "preact/hooks";
import { type LiveEvent, onLive } from "../api/live";

/** Calls the handler with each event while the component is shown. */
export function useLiveEvents(handle: (event: LiveEvent) => void): void {
  const handler = useRef(handle);
  handler.current = handle;
  useEffect(() => onLive((event) => handler.current(event)), []);
}

/**
 * Collects what `pick` returns for each event, and hands it over at most once in `millis`: fifty events a second become
 * one read. `null` is not collected. After a reset the handler is called with `null`: everything is to be read again.
 */
export function useLiveBatch(
  pick: (event: LiveEvent) => string | null,
  handle: (ids: string[] | null) => void,
  millis = 800,
): void {
  const current = useRef({ pick, handle });
  current.current = { pick, handle };
  useEffect(() => {
    let ids = new Set<string>();
    let all = false;
    let timer: number | undefined;
    const flush = () => {
      timer = undefined;
      const given = all ? null : [...ids];
      ids = new Set();
      all = false;
      current.current.handle(given);
    };
    const end = onLive((event) => {
      if (event.type === "reset") all = true;
      else {
        const id = current.current.pick(event);
        if (id === null) return;
        ids.add(id);
      }
      timer ??= window.setTimeout(flush, millis);
    });
    return () => {
      end();
      window.clearTimeout(timer);
    };
  }, [millis]);
}
