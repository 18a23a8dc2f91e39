// Counts of task runs by state, as cells of a grid and summaries show them.

import { labelOf, stateOf, stateOrder, type StateName } from "./states";

export interface StateCount {
  state: StateName;
  count: number;
}

const rank = new Map(stateOrder.map((state, place) => [state, place]));

/** How soon a state deserves attention: of several task runs the lowest rank stands for all. */
export function attentionRank(state: StateName): number {
  return rank.get(state) ?? stateOrder.length;
}

/** Whether a task run or run in this state will not change any more by itself. */
export function isFinished(state: StateName): boolean {
  return !["pending", "scheduled", "queued", "running", "retrying", "deferred"].includes(state);
}

/** Adds up counts, what deserves attention first. */
export function addCounts(lists: Iterable<readonly StateCount[]>): StateCount[] {
  const sums = new Map<StateName, number>();
  for (const list of lists) {
    for (const { state, count } of list) sums.set(state, (sums.get(state) ?? 0) + count);
  }
  return [...sums]
    .map(([state, count]) => ({ state, count }))
    .sort((a, b) => attentionRank(a.state) - attentionRank(b.state));
}

/** From the API's `task_counts`. */
export function countsOf(object: Record<string, number>): StateCount[] {
  return addCounts(Object.entries(object).map(([word, count]) => [{ state: stateOf(word), count }]));
}

/** "2 failed, 18 success" */
export function countsText(counts: readonly StateCount[]): string {
  return counts.map(({ state, count }) => `${count} ${labelOf(state).toLowerCase()}`).join(", ");
}
