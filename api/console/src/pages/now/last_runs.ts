/** The state that stands for the last runs of all pipelines: good unless none of them succeeded. */
export function lastRunsState(statuses: readonly { value: string; count: number }[]): string {
  const has = (status: string) => statuses.some(({ value, count }) => value === status && count > 0);
  if (has("success")) return "success";
  return has("failed") ? "failed" : "unknown";
}
