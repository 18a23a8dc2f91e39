import { useState } from "preact/hooks";
import { api, send, take } from "../../../api/client";
import { asFailure, type Failure } from "../../../api/failure";
import type { Parameter, ParametersAnswer, Pipeline, PipelineDetail, Run } from "../../../api/model";
import { paths } from "../../../app/paths";
import { navigate } from "../../../app/router";
import { Alert } from "../../../components/Alert";
import { Dialog, DialogFoot } from "../../../components/Dialog";
import { Icon } from "../../../components/Icon";
import { Skeleton } from "../../../components/Load";
import { toast } from "../../../components/Toasts";
import { criticalityLabels } from "../../../components/Criticality";
import { useResource } from "../../../data/resource";
import { ConfFields, ConfText } from "./ConfFields";
import { confOf, confOfText, covers, paramsOf, type Conf } from "./trigger_params";
import "./trigger.css";

interface TriggerDialogProps {
  slug: string;
  pipeline: PipelineDetail;
  /** The configuration to begin with: that of the run that is triggered again. */
  conf?: Conf;
  close: () => void;
}

/**
 * Asks for the parameters, shows what will be sent, and starts a run. A refusal is shown in the provider's
 * words.
 */
export function TriggerDialog(props: TriggerDialogProps) {
  const { slug, pipeline, close } = props;
  const path = `/spaces/${encodeURIComponent(slug)}/orchestration/pipelines/${pipeline.id}/parameters`;
  const answer = useResource(path, (signal) => send<ParametersAnswer>("GET", path, undefined, signal));
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
  // A later answer must not change a form that is being filled in.
  const [params] = useState(() => paramsOf(parameters, conf));
  const [asJson, setAsJson] = useState(params.length === 0 || !covers(parameters, conf ?? {}));
  const [texts, setTexts] = useState<ReadonlyMap<string, string>>(new Map());
  const [json, setJson] = useState(conf === undefined ? "" : JSON.stringify(conf, null, 2));
  const [note, setNote] = useState("");
  const [faults, setFaults] = useState<ReadonlyMap<string, string>>(new Map());
  const [confirmed, setConfirmed] = useState<Conf | null>(null);
  const review = (event: Event) => {
    event.preventDefault();
    const result = asJson ? fromText(json) : confOf(params, texts);
    setFaults(result.faults ?? new Map());
    if (result.conf !== undefined) setConfirmed(result.conf);
  };
  const turn = () => {
    const filled = asJson ? undefined : confOf(params, texts).conf;
    if (filled !== undefined) setJson(JSON.stringify(filled, null, 2));
    setFaults(new Map());
    setAsJson(!asJson);
  };
  if (confirmed !== null) {
    return (
      <Confirmation
        slug={slug}
        pipeline={pipeline}
        conf={confirmed}
        note={note}
        back={() => setConfirmed(null)}
        close={close}
      />
    );
  }
  return (
    <Dialog title={`Trigger ${pipeline.name}`} close={close}>
      <form onSubmit={review} noValidate>
        <div class="dialog-body">
          {problem !== null && (
            <p class="notice" role="status">
              <Icon name="alert" />
              <span>The parameters of this pipeline are not known. {problem}</span>
            </p>
          )}
          {asJson ? (
            <ConfText text={json} fault={faults.get("") ?? null} change={setJson} />
          ) : (
            <ConfFields
              params={params}
              texts={texts}
              faults={faults}
              change={(name, text) => setTexts(new Map(texts).set(name, text))}
            />
          )}
          {params.length > 0 && (
            <button type="button" class="link-button small conf-turn" onClick={turn}>
              {asJson ? "Fill in a form" : "Write JSON instead"}
            </button>
          )}
          <label class="field">
            <span class="field-label">Note</span>
            <input
              class="input"
              value={note}
              maxLength={1000}
              onInput={({ currentTarget }) => setNote(currentTarget.value)}
            />
          </label>
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

function fromText(text: string): { conf?: Conf; faults?: Map<string, string> } {
  const { conf, fault } = confOfText(text);
  return fault === undefined ? { conf } : { faults: new Map([["", fault]]) };
}

interface ConfirmationProps {
  slug: string;
  pipeline: PipelineDetail;
  conf: Conf;
  note: string;
  back: () => void;
  close: () => void;
}

function Confirmation({ slug, pipeline, conf, note, back, close }: ConfirmationProps) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  // Asking again with the same key starts no second run, also where the first answer was lost.
  const [key] = useState(newKey);
  const trigger = async () => {
    setBusy(true);
    setFailure(null);
    try {
      const run = await start(slug, pipeline, conf, note, key);
      toast(`${pipeline.name} was triggered`);
      close();
      navigate(paths.run(slug, run.id));
    } catch (error) {
      setFailure(asFailure(error));
      setBusy(false);
    }
  };
  return (
    <Dialog title={`Trigger ${pipeline.name}?`} close={close}>
      <div class="dialog-body">
        <Warnings pipeline={pipeline} />
        <p>
          {Object.keys(conf).length === 0
            ? "A run starts without a configuration."
            : "A run starts with this configuration:"}
        </p>
        {Object.keys(conf).length > 0 && (
          <pre class="conf-text" tabIndex={0}>
            {JSON.stringify(conf, null, 2)}
          </pre>
        )}
        {note.trim() !== "" && (
          <p>
            <span class="quiet">Note </span>
            {note.trim()}
          </p>
        )}
        {failure && <Alert>{refusal(failure)}</Alert>}
      </div>
      <div class="dialog-foot">
        <button type="button" class="button" disabled={busy} onClick={back}>
          Back
        </button>
        <button type="button" class="button button-primary" disabled={busy} onClick={() => void trigger()}>
          <Icon name="play" />
          {busy ? "Triggering…" : failure ? "Try again" : "Trigger"}
        </button>
      </div>
    </Dialog>
  );
}

function Warnings({ pipeline }: { pipeline: Pipeline }) {
  const important = pipeline.criticality === "high" || pipeline.criticality === "critical";
  return (
    <>
      {pipeline.is_paused && (
        <p class="notice">
          <Icon name="pause" />
          The pipeline is paused: its run waits until somebody resumes the pipeline.
        </p>
      )}
      {important && pipeline.criticality && (
        <p class="notice">
          <Icon name="alert" />
          Its criticality is {criticalityLabels[pipeline.criticality].toLowerCase()}.
        </p>
      )}
    </>
  );
}

function start(slug: string, pipeline: Pipeline, conf: Conf, note: string, key: string): Promise<Run> {
  // The generated type of a free object allows no fields.
  const body = { conf: conf as Record<string, never>, ...(note.trim() === "" ? {} : { note: note.trim() }) };
  const params = { path: { slug, pipeline_id: pipeline.id }, header: { "Idempotency-Key": key } };
  return take(
    api.POST("/api/v1.0/spaces/{slug}/orchestration/pipelines/{pipeline_id}/trigger", { params, body }),
  );
}

function refusal(failure: Failure): string {
  if (failure.provider === null) return failure.message;
  const name = failure.provider.charAt(0).toUpperCase() + failure.provider.slice(1);
  return `${name} refused: ${failure.message}`;
}

// `crypto.randomUUID` is missing where the console is not served over TLS.
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
