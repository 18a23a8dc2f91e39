// What a trigger dialog holds while it is filled in: fields or JSON, and what is wrong with them.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Parameter } from "../../../api/model";
import { confOf, confOfText, hiddenFaults, type ConfResult } from "./trigger_conf";
import { covers, paramsOf, type Conf, type Param } from "./trigger_params";

/** The fields of the first answer that has any: a later one must not change a form that is being filled in. */
function useParams(parameters: readonly Parameter[], earlier: Conf | undefined) {
  const [params, setParams] = useState<readonly Param[]>(() => paramsOf(parameters, earlier));
  useEffect(() => {
    if (params.length === 0 && parameters.length > 0) setParams(paramsOf(parameters, earlier));
  }, [parameters]);
  return [params, setParams] as const;
}

/** Counts reviews, after each of which the first field with a fault takes the focus. */
function useFaultFocus() {
  const form = useRef<HTMLFormElement>(null);
  const [reviews, setReviews] = useState(0);
  useEffect(() => {
    if (reviews > 0) form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  }, [reviews]);
  return [form, () => setReviews((before) => before + 1)] as const;
}

const UNCOVERED = "The form has no field for a part of this configuration.";

type Faults = ReadonlyMap<string, string>;

/** `accept` is called with a configuration without faults. */
export function useTriggerForm(
  parameters: readonly Parameter[],
  earlier: Conf | undefined,
  accept: (conf: Conf) => void,
) {
  const [params, setParams] = useParams(parameters, earlier);
  const [asJson, setAsJson] = useState(params.length === 0 || !covers(params, earlier ?? {}));
  const [texts, setTexts] = useState<ReadonlyMap<string, string>>(new Map());
  const [json, setJson] = useState(earlier === undefined ? "" : JSON.stringify(earlier, null, 2));
  const [faults, setFaults] = useState<Faults>(new Map());
  // Whether the reader has been told of hidden values, and wants to send them as they are.
  const [hidden, setHidden] = useState<"unseen" | "told" | "accepted">("unseen");
  const [form, reviewed] = useFaultFocus();
  const review = (event: Event) => {
    event.preventDefault();
    reviewed();
    const result = asJson ? fromText(json) : confOf(params, texts);
    const found: Faults = result.conf ? hiddenFaults(result.conf, asJson) : new Map();
    if (found.size > 0 && hidden !== "accepted") {
      setHidden("told");
      return setFaults(found);
    }
    setFaults(result.faults ?? new Map());
    if (result.conf !== undefined) accept(result.conf);
  };
  const turnToForm = () => {
    const written = confOfText(json).conf;
    // What the form has no field for would be lost.
    if (written && !covers(params, written)) return setFaults(new Map([["", UNCOVERED]]));
    if (written && json !== "") {
      setParams(paramsOf(parameters, written));
      setTexts(new Map());
    }
    setFaults(new Map());
    setAsJson(false);
  };
  const turnToJson = () => {
    const { conf } = confOf(params, texts);
    if (conf) setJson(JSON.stringify(conf, null, 2));
    setFaults(new Map());
    setAsJson(true);
  };
  const changeText = (name: string, text: string) => {
    setTexts(new Map(texts).set(name, text));
    setFaults(new Map([...faults].filter(([of]) => of !== name)));
  };
  const changeJson = (text: string) => {
    setJson(text);
    setFaults(new Map());
  };
  const turn = asJson ? turnToForm : turnToJson;
  return {
    form,
    params,
    asJson,
    texts,
    json,
    faults,
    hidden,
    setHidden,
    review,
    turn,
    changeText,
    changeJson,
  };
}

function fromText(text: string): ConfResult {
  const { conf, fault } = confOfText(text);
  return fault === undefined ? { conf } : { faults: new Map([["", fault]]) };
}
