// The kinds and statuses of incidents in words.
import type { Connector, Incident } from "../../api/model";

export const kindTexts: Record<Incident["kind"], string> = {
  failing: "Failing",
  late_start: "Late start",
  late_finish: "Late end",
  slow: "Slow",
  connector_stale: "Connector not synced",
};

export const kinds = Object.keys(kindTexts) as Incident["kind"][];

export const statusTexts: Record<Incident["status"], string> = {
  open: "Open",
  acknowledged: "Acknowledged",
  resolved: "Resolved",
};

export const statuses = Object.keys(statusTexts) as Incident["status"][];

/** Those that need attention; the others are history. */
export const UNRESOLVED: Incident["status"][] = ["open", "acknowledged"];

export const LATE_OR_SLOW: Incident["kind"][] = ["late_start", "late_finish", "slow"];

export function isMuted({ muted_until }: Incident, now: number): boolean {
  return muted_until !== null && Date.parse(muted_until) > now;
}

/** The name of what an incident is about: its pipeline, else its connector, once the connectors are known. */
export function subjectOf(incident: Incident, connectors: Connector[] | undefined): string {
  const connector = () => connectors?.find(({ id }) => id === incident.connector_id)?.name;
  return incident.pipeline_name ?? connector() ?? "a connector";
}

/** The state whose shape an incident has in lists. */
export function stateOfKind(kind: Incident["kind"]): string {
  if (kind === "failing") return "failed";
  if (kind === "slow") return "running";
  return kind === "connector_stale" ? "unknown" : "deferred";
}
