import { useState } from "preact/hooks";
import { send } from "../../../api/client";
import type { Parameter, ParametersAnswer, PipelineDetail } from "../../../api/model";
import { Dialog, DialogFoot } from "../../../components/Dialog";
import { Icon } from "../../../components/Icon";
import { Skeleton } from "../../../components/Load";
import { useResource } from "../../../data/resource";
import { ConfFields, ConfText } from "./ConfFields";
import { hiddenPlaces } from "./hidden";
import { TriggerConfirmation } from "./TriggerConfirmation";
import { useTriggerForm } from "./trigger_form";
import type { Conf } from "./trigger_params";
import "./trigger.css";

interface TriggerDialogProps {
  slug: string;
  pipeline: PipelineDetail;
  /** The configuration to begin with: that of the run that is triggered again. */
  conf?: Conf;
  close: () => void;
}

/** Asks for the parameters, shows what will be sent, and starts a run. */
export function TriggerDialog(props: TriggerDialogProps) {
  const { slug, pipeline, close } = props;
  const path = `/spaces/${encodeURIComponent(slug)}/orchestration/pipelines/${pipeline.id}/parameters`;
  // What was read for an earlier dialog may have changed.
  const answer = useResource(path, (signal) => send<ParametersAnswer>("GET", path, undefined, signal), {
    fresh: true,
  });
  if (answer.data === undefined && answer.failure === null) {
    return (
      <Dialog title={`Trigger ${pipeline.name}`} close={close}>
        <Skeleton lines={4} what="the parameters" />
      </Dialog>
    );
  }
  const problem = answer.data?.error ?? answer.failure?.message ?? null;
  return <TriggerForm {...props} parameters={answer.data?.parameters ?? []} problem={problem} />;
}

interface TriggerFormProps extends TriggerDialogProps {
  parameters: readonly Parameter[];
  /** Why the parameters are not known. */
  problem: string | null;
}

function TriggerForm({ slug, pipeline, conf, close, parameters, problem }: TriggerFormProps) {
  const [note, setNote] = useState("");
  const [confirmed, setConfirmed] = useState<Conf | null>(null);
  const state = useTriggerForm(parameters, conf, setConfirmed);
  const { params, asJson, faults, hidden } = state;
  if (confirmed !== null) {
    const back = () => setConfirmed(null);
    return <TriggerConfirmation {...{ slug, pipeline, params, note, back, close }} conf={confirmed} />;
  }
  return (
    <Dialog title={`Trigger ${pipeline.name}`} close={close}>
      <form onSubmit={state.review} noValidate ref={state.form}>
        <div class="dialog-body">
          {problem !== null && (
            <p class="notice" role="status">
              <Icon name="alert" />
              <span>The parameters of this pipeline are not known. {problem}</span>
            </p>
          )}
          {asJson ? (
            <ConfText text={state.json} fault={faults.get("") ?? null} change={state.changeJson}>
              {hiddenPlaces(conf ?? {}).length > 0 && "*** stands for a secret value: enter it again."}
            </ConfText>
          ) : (
            <ConfFields params={params} texts={state.texts} faults={faults} change={state.changeText} />
          )}
          {hidden !== "unseen" && (
            <label class="check">
              <input
                type="checkbox"
                checked={hidden === "accepted"}
                onChange={({ currentTarget }) => state.setHidden(currentTarget.checked ? "accepted" : "told")}
              />
              Send *** as it is
            </label>
          )}
          {params.length > 0 && (
            <button type="button" class="link-button small conf-turn" onClick={state.turn}>
              {asJson ? "Fill in a form" : "Write JSON instead"}
            </button>
          )}
          <Note text={note} change={setNote} />
        </div>
        <DialogFoot cancel={close}>
          <button type="submit" class="button button-primary">
            Continue
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

function Note({ text, change }: { text: string; change: (text: string) => void }) {
  return (
    <label class="field">
      <span class="field-label">Note (optional)</span>
      <input
        class="input"
        value={text}
        maxLength={1000}
        onInput={({ currentTarget }) => change(currentTarget.value)}
      />
    </label>
  );
}
