// The terms of a rule as its form holds them. What is empty is no condition.
import type { Channel, Criticality, Rule } from "../../api/model";

export interface RuleFields {
  channel_id: string;
  is_active: boolean;
  kinds: Rule["kinds"];
  min_criticality: Criticality | null;
  team_id: string | null;
  tag: string;
  pipeline_id: string | null;
}

export function fieldsOf(rule: Rule | null, channels: Channel[]): RuleFields {
  return {
    channel_id: rule?.channel_id ?? channels[0]?.id ?? "",
    is_active: rule?.is_active ?? true,
    kinds: rule?.kinds ?? [],
    min_criticality: rule?.min_criticality ?? null,
    team_id: rule?.team_id ?? null,
    tag: rule?.tag ?? "",
    pipeline_id: rule?.pipeline_id ?? null,
  };
}

/** All terms: null removes a condition, and a new rule has none that is null. */
export function bodyOf(fields: RuleFields): Record<string, unknown> {
  return { ...fields, tag: fields.tag.trim() || null };
}
