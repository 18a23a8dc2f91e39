// Channels, their messages and the rules of a space in words.
import type { Channel, ChannelType, Delivery, Rule } from "../../api/model";
import { criticalityLabels } from "../../components/Criticality";
import { kindTexts } from "../incidents/words";

export const typeTexts: Record<ChannelType, string> = {
  webhook: "Webhook",
  slack: "Slack",
  teams: "Microsoft Teams",
  pagerduty: "PagerDuty",
  email: "E-mail",
};

export const types = Object.keys(typeTexts) as ChannelType[];

export const statusTexts: Record<Delivery["status"], string> = {
  pending: "Waiting",
  delivered: "Delivered",
  failed: "Not delivered",
  cancelled: "Cancelled",
};

export const statuses = Object.keys(statusTexts) as Delivery["status"][];

/** The state whose shape a delivery has in lists. */
export const statusShapes: Record<Delivery["status"], string> = {
  pending: "queued",
  delivered: "success",
  failed: "failed",
  cancelled: "skipped",
};

export const changeTexts: Record<Delivery["change"], string> = {
  test: "A test",
  resolved: "Resolved",
  acknowledged: "Acknowledged",
  repeated: "Still open",
  updated: "Counted again",
  reopened: "Opened again",
  opened: "Opened",
};

/** Where a channel sends, as far as that may be read: the addresses of Slack and Teams are secrets. */
export function targetText({ type, config }: Channel): string {
  if (type === "email") return (config.to ?? []).join(", ");
  return config.url ?? config.host ?? "";
}

/** The names of what rules refer to by id. */
export interface RuleNames {
  team(id: string): string;
  pipeline(id: string): string;
}

/** The conditions of a rule, all of which must hold; none for a rule that reports every incident. */
export function conditionTexts(rule: Rule, names: RuleNames): string[] {
  const { kinds, min_criticality: criticality, team_id: team, tag, pipeline_id: pipeline } = rule;
  return [
    kinds.length > 0 ? kinds.map((kind) => kindTexts[kind]).join(" or ") : null,
    criticality && least(criticalityLabels[criticality]),
    team && `Team ${names.team(team)}`,
    tag && `Tag ${tag}`,
    pipeline && `Pipeline ${names.pipeline(pipeline)}`,
  ].filter((text) => text !== null);
}

function least(criticality: string): string {
  return criticality === criticalityLabels.critical ? criticality : `${criticality} or more critical`;
}
