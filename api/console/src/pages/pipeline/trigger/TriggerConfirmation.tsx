// Shows what will be sent, and starts a run.
import { useState } from "preact/hooks";
import { api, take } from "../../../api/client";
import { asFailure, type Failure } from "../../../api/failure";
import type { Pipeline, PipelineDetail, Run } from "../../../api/model";
import { paths } from "../../../app/paths";
import { navigate } from "../../../app/router";
import { Alert } from "../../../components/Alert";
import { criticalityLabels } from "../../../components/Criticality";
import { Dialog } from "../../../components/Dialog";
import { Icon } from "../../../components/Icon";
import { toast } from "../../../components/Toasts";
import { providerName } from "../../../data/format";
import { withoutSecrets } from "./trigger_conf";
import type { Conf, Param } from "./trigger_params";

interface TriggerConfirmationProps {
  slug: string;
  pipeline: PipelineDetail;
  conf: Conf;
  /** Whose values are secret. */
  params: readonly Param[];
  note: string;
  back: () => void;
  close: () => void;
}

/** A refusal is shown in the provider's words. */
export function TriggerConfirmation({
  slug,
  pipeline,
  conf,
  params,
  note,
  back,
  close,
}: TriggerConfirmationProps) {
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
            {JSON.stringify(withoutSecrets(conf, params), null, 2)}
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
  return `${providerName(failure.provider)} refused: ${failure.message}`;
}

// `crypto.randomUUID` is missing where the console is not served over TLS.
function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}
