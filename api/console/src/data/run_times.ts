// The time that a run is named by.

interface RunTimes {
  started_at: string | null;
  run_after: string | null;
  queued_at: string | null;
}

/** When a run started; before that, when it is due or was queued. */
export function runTime({ started_at, run_after, queued_at }: RunTimes): string | null {
  return started_at ?? run_after ?? queued_at;
}
