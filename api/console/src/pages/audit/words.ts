// The audit log in words.

import { criticalityLabels } from "../../components/Criticality";
import { exact } from "../../data/format";
import { typeTexts } from "../notifications/words";

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

type Details = Record<string, unknown>;

/** The names of people and teams by their ids. */
export type Names = ReadonlyMap<string, string>;

/** What changed, of the actions whose details say only from what and to what. */
const changeLabels: Record<string, string> = {
  "group_mapping.changed": "Role",
  "pipeline.criticality_changed": "Criticality",
  "pipeline.team_changed": "Team",
  "space.renamed": "Name",
  "team.member_changed": "Role",
  "user.role_changed": "Role",
};

const valueTexts: Record<string, string> = {
  ...criticalityLabels,
  ...typeTexts,
  admin: "Admin",
  airflow: "Airflow",
  editor: "Editor",
  manager: "Manager",
  member: "Member",
  viewer: "Viewer",
};

/** The details whose values are words of the API, and not what somebody wrote. */
const coded = new Set(["connector_type", "criticality", "min_criticality", "role", "type"]);

/** What is worth reading of the details; ids only where they have a name. */
export function detailsText(action: string, details: Details, names: Names): string {
  const parts = Object.entries(details).flatMap(([name, value]) => {
    if (value === null || name === "from" || name === "to") return [];
    const text = codedText(coded.has(name), value, names);
    return text === null ? [] : [`${labelText(name)}: ${text}`];
  });
  return [...changeText(action, details, names), ...parts].join(" · ");
}

function changeText(action: string, { from, to }: Details, names: Names): string[] {
  if (from === undefined || to === undefined) return [];
  const label = changeLabels[action] ?? "Changed";
  const isCoded = action !== "space.renamed";
  const texts = [from, to].map((value) => codedText(isCoded, value, names));
  return texts.includes(null) ? [] : [`${label}: ${texts.join(" → ")}`];
}

/** The detail as a label: `read_only` is `Read only`, `user_id` is `User`. */
function labelText(name: string): string {
  const words = name.replace(/_id$/, "").replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function codedText(isCoded: boolean, value: unknown, names: Names): string | null {
  const known = isCoded && typeof value === "string" ? valueTexts[value] : undefined;
  return known ?? valueText(value, names);
}

function valueText(value: unknown, names: Names): string | null {
  if (value === null) return "none";
  if (typeof value === "string")
    return UUID.test(value) ? (names.get(value) ?? null) : TIME.test(value) ? exact(value) : value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(value);
  if (Array.isArray(value)) {
    const texts = value.flatMap((one) => valueText(one, names) ?? []);
    return texts.length > 0 ? texts.join(", ") : value.length > 0 ? String(value.length) : null;
  }
  return null;
}
