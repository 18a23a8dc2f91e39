import { useEffect, useRef, useState } from "preact/hooks";
import { send } from "../../../api/client";
import type { Parameter, ParametersAnswer, PipelineDetail } from "../../../api/model";
import { Dialog, DialogFoot } from "../../../components/Dialog";
import { Icon } from "../../../components/Icon";
import { Skeleton } from "../../../components/Load";
import { useResource } from "../../../data/resource";
import { ConfFields, ConfText } from "./ConfFields";
import { hiddenPlaces } from "./hidden";
import { TriggerConfirmation } from "./TriggerConfirmation";
import { confOf, confOfText, hiddenFaults, type ConfResult } from "./trigger_conf";
import { covers, paramsOf, type Conf, type Param } from "./trigger_params";
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

/** The fields of the first answer that has any: a later one must not change a form that is being filled in. */
function useParams(parameters: readonly Parameter[], conf: Conf | undefined) {
  const [params, setParams] = useState<readonly Param[]>(() => paramsOf(parameters, conf));
  useEffect(() => {
    if (params.length === 0 && parameters.length > 0) setParams(paramsOf(parameters, conf));
  }, [parameters]);
  return [params, setParams] as const;
}

function TriggerForm({ slug, pipeline, conf, close, parameters, problem }: TriggerFormProps) {
  const [params, setParams] = useParams(parameters, conf);
  const [asJson, setAsJson] = useState(params.length === 0 || !covers(params, conf ?? {}));
  const [texts, setTexts] = useState<ReadonlyMap<string, string>>(new Map());
  const [json, setJson] = useState(conf === undefined ? "" : JSON.stringify(conf, null, 2));
  const [note, setNote] = useState("");
  const [faults, setFaults] = useState<ReadonlyMap<string, string>>(new Map());
  // Whether the reader has been told of hidden values, and wants to send them as they are.
  const [hidden, setHidden] = useState<"unseen" | "told" | "accepted">("unseen");
  const [confirmed, setConfirmed] = useState<Conf | null>(null);
  const [reviews, setReviews] = useState(0);
  const form = useFaultFocus(reviews);
  const review = (event: Event) => {
    event.preventDefault();
    setReviews(reviews + 1);
    const result = asJson ? fromText(json) : confOf(params, texts);
    const found = result.conf ? hiddenFaults(result.conf, asJson) : new Map<string, string>();
    if (found.size > 0 && hidden !== "accepted") {
      setHidden("told");
      return setFaults(found);
    }
    setFaults(result.faults ?? new Map());
    if (result.conf !== undefined) setConfirmed(result.conf);
  };
  const turn = () => {
    const written = asJson ? confOfText(json).conf : undefined;
    // What the form has no field for would be lost.
    if (written && !covers(params, written)) return setFaults(new Map([["", UNCOVERED]]));
    const filled = asJson ? undefined : confOf(params, texts).conf;
    if (filled) setJson(JSON.stringify(filled, null, 2));
    if (written && json !== "") {
      setParams(paramsOf(parameters, written));
      setTexts(new Map());
    }
    setFaults(new Map());
    setAsJson(!asJson);
  };
  const changeText = (name: string, text: string) => {
    setTexts(new Map(texts).set(name, text));
    setFaults(new Map([...faults].filter(([of]) => of !== name)));
  };
  const changeJson = (text: string) => {
    setJson(text);
    setFaults(new Map());
  };
  if (confirmed !== null) {
    const back = () => setConfirmed(null);
    return <TriggerConfirmation {...{ slug, pipeline, params, note, back, close }} conf={confirmed} />;
  }
  return (
    <Dialog title={`Trigger ${pipeline.name}`} close={close}>
      <form onSubmit={review} noValidate ref={form}>
        <div class="dialog-body">
          {problem !== null && (
            <p class="notice" role="status">
              <Icon name="alert" />
              <span>The parameters of this pipeline are not known. {problem}</span>
            </p>
          )}
          {asJson ? (
            <ConfText text={json} fault={faults.get("") ?? null} change={changeJson}>
              {hiddenPlaces(conf ?? {}).length > 0 && "*** stands for a secret value: enter it again."}
            </ConfText>
          ) : (
            <ConfFields params={params} texts={texts} faults={faults} change={changeText} />
          )}
          {hidden !== "unseen" && (
            <label class="check">
              <input
                type="checkbox"
                checked={hidden === "accepted"}
                onChange={({ currentTarget }) => setHidden(currentTarget.checked ? "accepted" : "told")}
              />
              Send *** as it is
            </label>
          )}
          {params.length > 0 && (
            <button type="button" class="link-button small conf-turn" onClick={turn}>
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

const UNCOVERED = "The form has no field for a part of this configuration.";

/** The first field with a fault takes the focus, wherever the reader is in a long form. */
function useFaultFocus(reviews: number) {
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => {
    if (reviews > 0) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [reviews]);
  return form;
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

function fromText(text: string): ConfResult {
  const { conf, fault } = confOfText(text);
  return fault === undefined ? { conf } : { faults: new Map([["", fault]]) };
}
