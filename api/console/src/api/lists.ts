// Lists with their totals, and the next page.
import { BASE, observedFetch, takeWithHeaders } from "./client";

export interface ListAnswer<T> {
  rows: T[];
  total: number;
  /** Whether `total` is a lower bound. */
  isBound: boolean;
  nextCursor: string | null;
}

export type QueryValue = string | number | boolean | string[] | null | undefined;

/** Writes a query; a list repeats its parameter. */
export function queryText(query: Record<string, QueryValue>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === null || value === undefined || value === "" || value === false) continue;
    for (const one of Array.isArray(value) ? value : [value]) params.append(name, String(one));
  }
  return params.toString();
}

export async function readList<T>(
  path: string,
  query: Record<string, QueryValue>,
  signal?: AbortSignal,
): Promise<ListAnswer<T>> {
  const request = async () => {
    const url = new URL(`${BASE}${path}?${queryText(query)}`, window.location.href);
    const response = await observedFetch(new Request(url, { signal: signal ?? null }));
    const text = await response.text();
    const body: unknown = text ? JSON.parse(text) : undefined;
    return response.ok ? { data: body as T[], response } : { error: body, response };
  };
  const { body, headers } = await takeWithHeaders<T[]>(request());
  return {
    rows: body,
    total: Number(headers.get("x-total-count") ?? body.length),
    isBound: headers.get("x-total-relation") === "gte",
    nextCursor: headers.get("x-next-cursor"),
  };
}

const LARGEST_PAGE = 500;
/** How many pages of a list are read at most; lists that are read whole have fewer. */
const MAX_PAGES = 4;

/** Reads a whole list, which has at most a few hundred rows. */
export async function readAll<T>(path: string, signal?: AbortSignal): Promise<T[]> {
  const rows: T[] = [];
  let cursor: string | null = null;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer: ListAnswer<T> = await readList<T>(path, { size: LARGEST_PAGE, cursor }, signal);
    rows.push(...answer.rows);
    cursor = answer.nextCursor;
    if (cursor === null) break;
  }
  return rows;
}
