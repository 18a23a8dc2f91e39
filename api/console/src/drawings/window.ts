// Which rows of a long list are drawn: those in sight and some around them.

export interface RowWindow {
  from: number;
  to: number;
}

/** Moves in steps of `step` rows, so that scrolling rarely draws anew. */
export function rowWindow(
  scrollTop: number,
  height: number,
  rowHeight: number,
  count: number,
  step = 16,
): RowWindow {
  const first = Math.floor(Math.max(0, scrollTop) / rowHeight / step) * step;
  const last = Math.ceil((Math.max(0, scrollTop) + height) / rowHeight / step) * step;
  return { from: Math.max(0, Math.min(first, count) - step), to: Math.min(count, last + step) };
}
