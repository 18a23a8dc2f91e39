// The audit log in words.

import { exact } from "../../data/format";

const texts: Record<string, string> = {
  "channel.changed": "Changed a notification channel",
  "channel.created": "Created a notification channel",
  "channel.deleted": "Deleted a notification channel",
  "channel.redelivered": "Sent a notification again",
  "channel.resealed": "Re-encrypted a channel's secrets",
  "channel.tested": "Tested a notification channel",
  "comment.deleted": "Deleted a comment",
  "connector.created": "Created a connector",
  "connector.changed": "Changed a connector",
  "connector.deleted": "Deleted a connector",
  "connector.resealed": "Re-encrypted a connector's credentials",
  "connector.sync_requested": "Requested a sync",
  "group_mapping.changed": "Changed the role of a group",
  "group_mapping.created": "Gave a group a role",
  "group_mapping.deleted": "Removed the role of a group",
  "incident.acknowledged": "Acknowledged an incident",
  "incident.muted": "Muted or unmuted an incident",
  "key.created": "Created an API key",
  "key.revoked": "Revoked an API key",
  "pipeline.criticality_changed": "Set a pipeline's criticality",
  "pipeline.team_changed": "Set a pipeline's team",
  "pipeline.triggered": "Triggered a run",
  "rule.changed": "Changed a notification rule",
  "rule.created": "Created a notification rule",
  "rule.deleted": "Deleted a notification rule",
  "session.created": "Signed in",
  "session.ended": "Signed out",
  "space.created": "Created the space",
  "space.pipelines_changed": "Changed several pipelines",
  "space.renamed": "Renamed the space",
  "sync.cancelled": "Cancelled a sync",
  "team.created": "Created a team",
  "team.changed": "Changed a team",
  "team.deleted": "Deleted a team",
  "team.member_changed": "Changed the members of a team",
  "user.created": "Created a user",
  "user.disabled": "Disabled a user",
  "user.enabled": "Enabled a user",
  "user.renamed": "Renamed a user",
  "user.role_changed": "Changed a member's role",
};

export const actions = Object.keys(texts);

/** The action in words; one of a later release as it is: `team.member_added` is `Team: member added`. */
export function actionText(action: string): string {
  const known = texts[action];
  if (known) return known;
  const [target = "", what = ""] = action.split(".");
  return `${target.charAt(0).toUpperCase()}${target.slice(1)}: ${what.replaceAll("_", " ")}`;
}

export const viaTexts: Record<string, string> = {
  api: "API",
  cli: "Command line",
  kafka: "Kafka",
  console: "Console",
};

const TIME = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-/;

/** What is worth reading of the details: without ids, which mean nothing to a reader. */
export function detailsText(details: Record<string, unknown>): string {
  const parts = Object.entries(details).flatMap(([name, value]) => {
    // What was not given is no news, unless it is one side of a change.
    const text = value === null && name !== "from" && name !== "to" ? null : valueText(value);
    return text === null ? [] : [`${name.replaceAll("_", " ")}: ${text}`];
  });
  return parts.join(" · ");
}

function valueText(value: unknown): string | null {
  if (value === null) return "none";
  if (typeof value === "string") return UUID.test(value) ? null : TIME.test(value) ? exact(value) : value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) {
    const texts = value.flatMap((one) => valueText(one) ?? []);
    return texts.length > 0 ? texts.join(", ") : value.length > 0 ? String(value.length) : null;
  }
  return null;
}
