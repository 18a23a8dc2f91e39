// The window on rows that scroll in an element of their own.
import { useLayoutEffect, useMemo, useState } from "preact/hooks";
import { rowWindow, type RowWindow } from "./window";

type Scroller = { readonly current: HTMLElement | null };

/** Which of `rows` are in sight or near it. Renders anew only when the window moves. */
export function useScrollWindow(scroller: Scroller, rows: number, rowHeight: number): RowWindow {
  const [shown, setShown] = useState<RowWindow>(() => rowWindow(0, 640, rowHeight, rows));
  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    let frame = 0;
    const measure = () => {
      frame = 0;
      const next = rowWindow(element.scrollTop, element.clientHeight, rowHeight, rows);
      setShown((before) => (before.from === next.from && before.to === next.to ? before : next));
    };
    const schedule = () => (frame ||= requestAnimationFrame(measure));
    measure();
    const observer = new ResizeObserver(schedule);
    observer.observe(element);
    element.addEventListener("scroll", schedule, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", schedule);
      cancelAnimationFrame(frame);
    };
  }, [rows, rowHeight]);
  const [from, to] = [Math.min(shown.from, rows), Math.min(shown.to, rows)];
  return useMemo(() => ({ from, to }), [from, to]);
}

/** The inner width of an element, which drawings need in pixels. */
export function useWidth(element: Scroller, first: number): number {
  const [width, setWidth] = useState(first);
  useLayoutEffect(() => {
    const measured = element.current;
    if (measured === null) return;
    setWidth(measured.clientWidth);
    const observer = new ResizeObserver(() => setWidth(measured.clientWidth));
    observer.observe(measured);
    return () => observer.disconnect();
  }, []);
  return width;
}
