// The form of a rule: incidents for which all of its conditions hold are reported to its channel.
import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Channel, Criticality, Rule } from "../../api/model";
import { criticalities, criticalityLabels } from "../../components/Criticality";
import { Alert } from "../../components/Alert";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { SelectField } from "../../components/SelectField";
import { TextField } from "../../components/TextField";
import { useSubmit } from "../../data/submit";
import { useTeams } from "../../data/teams";
import { kindTexts, kinds } from "../incidents/words";
import { PipelineField } from "./PipelineField";
import { type RuleFields, bodyOf, fieldsOf } from "./rule_fields";
import type { RuleNames } from "./words";

interface RuleDialogProps {
  slug: string;
  path: string;
  rule: Rule | null;
  channels: Channel[];
  names: RuleNames;
  close(): void;
  saved(): void;
}

export function RuleDialog({ slug, path, rule, channels, names, close, saved }: RuleDialogProps) {
  const [fields, setFields] = useState(() => fieldsOf(rule, channels));
  const change = (part: Partial<RuleFields>) => setFields({ ...fields, ...part });
  const save = () => send(rule ? "PATCH" : "POST", rule ? `${path}/${rule.id}` : path, bodyOf(fields));
  const { busy, failure, faults, submit } = useSubmit(save, () => {
    saved();
    close();
  });
  return (
    <Dialog title={rule ? "Change the rule" : "New rule"} close={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          {failure && failure.faults.length === 0 && <Alert>{failure.message}</Alert>}
          <SelectField
            label="Report to"
            value={fields.channel_id}
            options={channels.map(({ id, name }) => [id, name])}
            change={(channel_id) => change({ channel_id })}
          />
          <Kinds chosen={fields.kinds} change={(chosen) => change({ kinds: chosen })} />
          <PipelineConditions {...{ slug, fields, faults, names, change }} />
          <label class="check">
            <input
              type="checkbox"
              checked={fields.is_active}
              onChange={(event) => change({ is_active: event.currentTarget.checked })}
            />
            Active
          </label>
        </div>
        <DialogFoot cancel={close}>
          <button class="button button-primary" disabled={busy}>
            {rule ? "Save" : "Create"}
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

interface ConditionsProps {
  slug: string;
  fields: RuleFields;
  faults: Record<string, string>;
  names: RuleNames;
  change(part: Partial<RuleFields>): void;
}

function PipelineConditions({ slug, fields, faults, names, change }: ConditionsProps) {
  const teams = useTeams(slug);
  const levels = criticalities.map((level): [string, string] => [level, criticalityLabels[level]]);
  return (
    <>
      <SelectField
        label="Minimum criticality of the pipeline"
        value={fields.min_criticality ?? ""}
        options={[["", "Any"], ...levels.reverse()]}
        change={(level) => change({ min_criticality: (level || null) as Criticality | null })}
      />
      <SelectField
        label="Team of the pipeline"
        value={fields.team_id ?? ""}
        options={[["", "Any"], ...(teams.data ?? []).map(({ id, name }): [string, string] => [id, name])]}
        change={(team) => change({ team_id: team || null })}
      />
      <TextField
        label="Tag of the pipeline (optional)"
        value={fields.tag}
        change={(tag) => change({ tag })}
        fault={faults.tag}
        maxLength={200}
      />
      <PipelineField
        slug={slug}
        chosen={fields.pipeline_id}
        name={fields.pipeline_id === null ? null : names.pipeline(fields.pipeline_id)}
        choose={(pipeline_id) => change({ pipeline_id })}
      />
    </>
  );
}

function Kinds({ chosen, change }: { chosen: Rule["kinds"]; change(kinds: Rule["kinds"]): void }) {
  return (
    <fieldset class="choices">
      <legend class="field-label">Kinds of incidents (all if none is selected)</legend>
      {kinds.map((kind) => (
        <label key={kind} class="check">
          <input
            type="checkbox"
            checked={chosen.includes(kind)}
            onChange={(event) =>
              change(event.currentTarget.checked ? [...chosen, kind] : chosen.filter((one) => one !== kind))
            }
          />
          {kindTexts[kind]}
        </label>
      ))}
    </fieldset>
  );
}
