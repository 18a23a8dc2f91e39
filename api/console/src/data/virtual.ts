// A window of fixed rows on a long list that scrolls with the page: only the rows in view are in the document.
import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

export interface Window {
  first: number;
  /** The row after the last one. */
  end: number;
}

const OVERSCAN = 6;

/** The rows in view of a list whose top is `top` pixels below the top of the screen (negative when scrolled past). */
export function windowOf(top: number, screen: number, rowHeight: number, rows: number): Window {
  const first = Math.floor(-top / rowHeight) - OVERSCAN;
  const end = Math.ceil((screen - top) / rowHeight) + OVERSCAN;
  return { first: Math.max(0, Math.min(first, rows)), end: Math.max(0, Math.min(end, rows)) };
}

export function useVirtualRows(list: RefObject<HTMLElement | null>, rows: number, rowHeight: number): Window {
  const [shown, setShown] = useState<Window>({ first: 0, end: Math.min(rows, 20) });
  useLayoutEffect(() => {
    let frame = 0;
    const measure = () => {
      frame = 0;
      const top = list.current?.getBoundingClientRect().top ?? 0;
      const next = windowOf(top, window.innerHeight, rowHeight, rows);
      setShown((before) => (before.first === next.first && before.end === next.end ? before : next));
    };
    const schedule = () => {
      frame ||= requestAnimationFrame(measure);
    };
    measure();
    window.addEventListener("scroll", schedule, { passive: true });
    window.addEventListener("resize", schedule);
    return () => {
      cancelAnimationFrame(frame);
      window.removeEventListener("scroll", schedule);
      window.removeEventListener("resize", schedule);
    };
  }, [rows, rowHeight]);
  return { first: Math.min(shown.first, rows), end: Math.min(shown.end, rows) };
}
