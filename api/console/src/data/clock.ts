// One clock for all relative times and growing durations: it ticks only while a page is visible.
import { useEffect, useState } from "preact/hooks";

const listeners = new Set<(now: number) => void>();
let timer: number | undefined;

function tick(): void {
  if (document.hidden) return;
  const now = Date.now();
  for (const listener of [...listeners]) listener(now);
}

/** Returns the time in milliseconds, anew every `seconds`. With 0 it stands still. */
export function useNow(seconds = 10): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (seconds <= 0) return;
    let last = Date.now();
    const listener = (at: number) => {
      if (at - last < seconds * 1000 - 100) return;
      last = at;
      setNow(at);
    };
    listeners.add(listener);
    timer ??= window.setInterval(tick, 1000);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) {
        window.clearInterval(timer);
        timer = undefined;
      }
    };
  }, [seconds]);
  return now;
}
