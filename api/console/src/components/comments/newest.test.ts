import { expect, test } from "vitest";
import { PAGE, readNewest } from "./newest";

/** A list of numbers of which each page is read at most once. */
function listOf(total: number) {
  const asked: number[] = [];
  const read = (page: number) => {
    asked.push(page);
    const rows = Array.from({ length: total }, (_, index) => index).slice((page - 1) * PAGE, page * PAGE);
    return Promise.resolve({ rows, total, isBound: false, nextCursor: null });
  };
  return { asked, read };
}

test("the last comment is among those shown, however many there are", async () => {
  for (const total of [0, 1, PAGE, PAGE + 1, 3 * PAGE, 5 * PAGE + 7]) {
    const { asked, read } = listOf(total);
    const { rows, earlier } = await readNewest(read, 2);
    expect(rows.at(-1)).toBe(total === 0 ? undefined : total - 1);
    expect(rows.length + earlier).toBe(total);
    expect(rows.length).toBeGreaterThanOrEqual(Math.min(total, PAGE));
    expect(new Set(asked).size).toBe(asked.length);
  }
});

test("a further page shows those before", async () => {
  const { read } = listOf(3 * PAGE + 5);
  const { rows, earlier } = await readNewest(read, 3);
  expect([rows[0], rows.at(-1), earlier]).toEqual([PAGE, 3 * PAGE + 4, PAGE]);
});
