import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { Channel, Pipeline, Rule } from "../../api/model";
import { paths } from "../../app/paths";
import { IconButton, RemoveButton } from "../../components/IconButton";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { toast, toastFailure } from "../../components/Toasts";
import { type Resource, useResource } from "../../data/resource";
import { may } from "../../data/session";
import { useTeams } from "../../data/teams";
import { RuleDialog } from "./RuleDialog";
import { type RuleNames, conditionTexts } from "./words";

interface RulesProps {
  slug: string;
  path: string;
  rules: Resource<Rule[]>;
  channels: Channel[];
}

export function Rules({ slug, path, rules, channels }: RulesProps) {
  const mayChange = may(slug, "admin");
  const names = useRuleNames(slug, rules.data ?? []);
  const dialog = (rule: Rule | null) => (close: () => void) => (
    <RuleDialog {...{ slug, path, rule, channels, names, close }} saved={rules.refresh} />
  );
  return (
    <ListPanel
      title="Rules"
      resource={rules}
      what="the rules"
      className="rules cards"
      add={mayChange && channels.length > 0 ? { label: "New rule", dialog: dialog(null) } : null}
      empty={
        <Blank title={channels.length > 0 ? "Nothing is reported yet" : "This space has no rules yet"}>
          <p>
            {channels.length > 0
              ? "A rule says which incidents are reported to a channel."
              : "A rule says which incidents are reported to a channel: create the channel first."}
          </p>
        </Blank>
      }
      head={
        <>
          <th>Incidents</th>
          <th class="col-channel">Reported to</th>
          {mayChange && <ActionsHead className="col-edit" />}
        </>
      }
      row={(rule) => (
        <tr key={rule.id}>
          <td>
            <Conditions rule={rule} names={names} />
          </td>
          <td class="col-channel" data-label="Reported to">
            <a class="clip" href={paths.channel(slug, rule.channel_id)}>
              {channels.find(({ id }) => id === rule.channel_id)?.name ?? "The channel"}
            </a>
          </td>
          {mayChange && (
            <td class="col-edit cell-corner">
              <RuleActions path={path} rule={rule} dialog={dialog(rule)} changed={rules.refresh} />
            </td>
          )}
        </tr>
      )}
    />
  );
}

function Conditions({ rule, names }: { rule: Rule; names: RuleNames }) {
  const texts = conditionTexts(rule, names);
  return (
    <div class="row row-wrap">
      {texts.length === 0 && <b>Every incident</b>}
      {texts.map((text) => (
        <span key={text} class="tag">
          {text}
        </span>
      ))}
      {!rule.is_active && <span class="quiet small">Switched off</span>}
    </div>
  );
}

interface RuleActionsProps {
  path: string;
  rule: Rule;
  dialog(close: () => void): ComponentChildren;
  changed(): void;
}

function RuleActions({ path, rule, dialog, changed }: RuleActionsProps) {
  const [changing, setChanging] = useState(false);
  const remove = () =>
    void send("DELETE", `${path}/${rule.id}`).then(() => {
      toast("The rule is deleted");
      changed();
    }, toastFailure);
  return (
    <>
      <IconButton icon="edit" label="Change the rule" onClick={() => setChanging(true)} />
      <RemoveButton action="Delete" name="the rule" remove={remove}>
        <p>Incidents that only this rule reports are no longer sent to its channel.</p>
      </RemoveButton>
      {changing && dialog(() => setChanging(false))}
    </>
  );
}

/** So many pipelines are read by their ids in one request. */
const MAX_IDS = 200;

/** Reads the names of the teams and pipelines that rules refer to. */
function useRuleNames(slug: string, rules: Rule[]): RuleNames {
  const teams = useTeams(slug);
  const ids = [...new Set(rules.flatMap((rule) => rule.pipeline_id ?? []))].sort().slice(0, MAX_IDS);
  const path = `/spaces/${slug}/orchestration/pipelines`;
  const pipelines = useResource(
    ids.length === 0 ? null : `${path} ${ids.join(" ")}`,
    async (signal) =>
      (await readList<Pipeline>(path, { id: ids, is_active: "any", size: MAX_IDS }, signal)).rows,
    { keepPrevious: true },
  );
  const nameIn = (rows: { id: string; name: string }[] | undefined) => (id: string) =>
    rows?.find((row) => row.id === id)?.name ?? "…";
  return { team: nameIn(teams.data), pipeline: nameIn(pipelines.data) };
}
