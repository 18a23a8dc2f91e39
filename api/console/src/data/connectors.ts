// The connectors of a space, and whether what is mirrored from them is up to date.
import { readList } from "../api/lists";
import type { Connector, Sync } from "../api/model";
import { useLiveBatch } from "./live";
import { type Resource, useResource } from "./resource";

const GRACE_MILLIS = 5 * 60 * 1000;

/** Syncs may end every few seconds, and most readers need no more than one read in `millis`. */
export function useConnectors(slug: string, millis = 10_000): Resource<Connector[]> {
  const path = `/catalog/spaces/${slug}/connectors`;
  const resource = useResource(
    path,
    async (signal) => (await readList<Connector>(path, { size: 500 }, signal)).rows,
    { everySeconds: 30 },
  );
  useLiveBatch((event) => (event.type === "sync" ? event.data.id : null), resource.refresh, millis);
  return resource;
}

/** The sync that waits to begin, or else the one that began last. */
export function latestSync(connector: Connector): Sync | null {
  return connector.queued_sync ?? connector.latest_sync ?? null;
}

/**
 * Whether the rows of a connector are behind their source: its schedule is over due, or its syncs fail, for more than
 * five minutes.
 */
export function isStale(connector: Connector, now: number): boolean {
  if (!connector.is_active || !connector.config.schedule) return false;
  const since = (at: string | null | undefined) => (at ? now - new Date(at).getTime() : 0);
  if (since(connector.next_due_at) > GRACE_MILLIS) return true;
  const age = connector.last_success_at ? since(connector.last_success_at) : since(connector.created_at);
  return connector.failures > 0 && age > GRACE_MILLIS;
}

/** Those that fail first, then those that are behind their source, those that read, and those switched off. */
export function worstFirst(connectors: readonly Connector[], now: number): Connector[] {
  const rank = (one: Connector) => {
    if (!one.is_active) return 3;
    if (one.failures > 0) return 0;
    return isStale(one, now) ? 1 : 2;
  };
  return [...connectors].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
}

export const isOpen = (sync: Sync | null): boolean => sync?.status === "queued" || sync?.status === "running";

/** Cron lines that have a name. */
const schedules: Record<string, string> = {
  "*/5 * * * * *": "Every 5 seconds",
  "*/10 * * * * *": "Every 10 seconds",
  "*/30 * * * * *": "Every 30 seconds",
  "* * * * *": "Every minute",
  "*/5 * * * *": "Every 5 minutes",
  "*/15 * * * *": "Every 15 minutes",
  "0 * * * *": "Every hour",
};

export const namedSchedules = Object.entries(schedules);

export function scheduleText(cron: string | null | undefined): string {
  if (!cron) return "Manual only";
  return schedules[cron] ?? stepText(cron) ?? cron;
}

/** A step that divides a minute or an hour: of others, the last one is shorter. */
function stepText(cron: string): string | null {
  const [, step, seconds] = /^\*\/(\d+)(?: \*){4}( \*)?$/.exec(cron) ?? [];
  if (step === undefined || Number(step) < 2 || 60 % Number(step) !== 0) return null;
  return `Every ${Number(step)} ${seconds ? "seconds" : "minutes"}`;
}
