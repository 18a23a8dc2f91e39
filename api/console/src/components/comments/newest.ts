// The newest comments, which the API lists last.
import type { ListAnswer } from "../../api/lists";

export const PAGE = 100;

export interface NewestComments<T> {
  /** The oldest first. */
  rows: T[];
  total: number;
  /** How many older ones there are. */
  earlier: number;
}

/** Reads so many pages from the end of a list; how many it has stands in the answer of the first. */
export async function readNewest<T>(
  read: (page: number) => Promise<ListAnswer<T>>,
  pages: number,
): Promise<NewestComments<T>> {
  const first = await read(1);
  const last = Math.max(1, Math.ceil(first.total / PAGE));
  const from = Math.max(1, last - pages + 1);
  const numbers = Array.from({ length: last - from + 1 }, (_, index) => from + index);
  const answers = await Promise.all(numbers.map((page) => (page === 1 ? first : read(page))));
  return { rows: answers.flatMap(({ rows }) => rows), total: first.total, earlier: (from - 1) * PAGE };
}
