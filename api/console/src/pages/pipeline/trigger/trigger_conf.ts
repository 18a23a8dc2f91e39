// The configuration that the fields of a form stand for, or that was written as JSON.
import { hiddenFault, hiddenPlaces } from "./hidden";
import { type Conf, type Fields, type Param, isObject, typesOf } from "./trigger_params";

export type ConfResult =
  { conf: Conf; faults?: undefined } | { conf?: undefined; faults: Map<string, string> };

/** The configuration that the fields stand for, or what is wrong with which field. */
export function confOf(params: readonly Param[], texts: ReadonlyMap<string, string>): ConfResult {
  const conf: Conf = {};
  const faults = new Map<string, string>();
  for (const param of params) {
    const text = texts.get(param.name) ?? param.text;
    // The provider has the default.
    if ((param.secret || param.hidden) && text === "") continue;
    const read = valueOf(param, text);
    if (read.fault === undefined) conf[param.name] = read.value;
    else faults.set(param.name, read.fault);
  }
  return faults.size === 0 ? { conf } : { faults };
}

/** What a configuration has only as `***`, by the parameter, or as one where it was written as JSON. */
export function hiddenFaults(conf: Conf, asJson: boolean): Map<string, string> {
  const faults = Object.entries(conf).flatMap(([name, value]): [string, string][] => {
    const places = hiddenPlaces(value, name);
    return places.length === 0 ? [] : [[name, hiddenFault(places)]];
  });
  if (!asJson || faults.length === 0) return new Map(faults);
  return new Map([["", hiddenFault(hiddenPlaces(conf))]]);
}

type Value = { value: unknown; fault?: undefined } | { value?: undefined; fault: string };

function valueOf(param: Param, text: string): Value {
  const isEmpty = text.trim() === "";
  if (isEmpty && param.kind === "choice") return { fault: "Choose a value." };
  if (isEmpty && param.nullable) return { value: null };
  if (isEmpty && param.required) return { fault: "Enter a value: there is no default." };
  switch (param.kind) {
    case "boolean":
      return { value: text === "true" };
    case "integer":
    case "number":
      return numberOf(param, text);
    case "choice":
      return jsonOf(text);
    case "lines":
      return { value: text.split("\n").filter((line) => line.trim() !== "") };
    case "json":
      return jsonOfType(param, text);
    case "date":
    case "time":
      return dateOf(param, text.trim());
    default:
      return textOf(param, text);
  }
}

function numberOf({ kind, schema }: Param, text: string): Value {
  const value = Number(text);
  const [least, most] = [limit(schema.minimum), limit(schema.maximum)];
  if (text.trim() === "" || !Number.isFinite(value)) return { fault: "Enter a number." };
  if (kind === "integer" && !Number.isInteger(value)) return { fault: "Enter a whole number." };
  if (least !== null && value < least) return { fault: `Enter at least ${least}.` };
  if (most !== null && value > most) return { fault: `Enter at most ${most}.` };
  return { value };
}

function limit(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

function textOf({ schema }: Param, text: string): Value {
  const [least, most] = [limit(schema.minLength), limit(schema.maxLength)];
  if (least !== null && text.length < least)
    return { fault: least === 1 ? "Enter a text." : `Enter at least ${least} characters.` };
  if (most !== null && text.length > most) return { fault: `Enter at most ${most} characters.` };
  return { value: text };
}

const DAY = /^\d{4}-\d{2}-\d{2}$/;
const TIME = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}/;

function dateOf({ kind }: Param, text: string): Value {
  const isValid = (kind === "date" ? DAY : TIME).test(text) && !Number.isNaN(Date.parse(text));
  if (isValid) return { value: text };
  return { fault: kind === "date" ? "Choose a date." : "Enter a time like 2026-01-31T05:00:00Z." };
}

function jsonOfType({ schema }: Param, text: string): Value {
  const read = jsonOf(text);
  if (read.fault !== undefined) return read;
  const types = typesOf(schema);
  const isWanted = types.length === 0 || typesOfValue(read.value).some((type) => types.includes(type));
  return isWanted ? read : { fault: `Enter JSON of the type ${types.join(" or ")}.` };
}

function typesOfValue(value: unknown): string[] {
  if (value === null) return ["null"];
  if (Array.isArray(value)) return ["array"];
  return Number.isInteger(value) ? ["integer", "number"] : [typeof value];
}

function jsonOf(text: string): Value {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch (error) {
    return { fault: jsonFault(text, error) };
  }
}

/** The configuration from a text: an object, or nothing at all. */
export function confOfText(
  text: string,
): { conf: Conf; fault?: undefined } | { conf?: undefined; fault: string } {
  if (text.trim() === "") return { conf: {} };
  const read = jsonOf(text);
  if (read.fault !== undefined) return { fault: read.fault };
  if (!isObject(read.value))
    return { fault: 'The configuration must be a JSON object, like {"region": "eu"}.' };
  return { conf: read.value };
}

/** Engines word their messages differently; all that know the place name it as an offset or a line. */
function jsonFault(text: string, error: unknown): string {
  const message = error instanceof Error ? error.message : "";
  const offset = /position (\d+)/.exec(message)?.[1];
  if (offset === undefined)
    return "This is not valid JSON: it ends too early, or a quote or comma is missing.";
  const before = text.slice(0, Number(offset)).split("\n");
  return `This is not valid JSON: look at line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}.`;
}

/** A configuration for the eyes of others: values of secret parameters are not repeated. */
export function withoutSecrets(conf: Conf, params: readonly Param[]): Fields {
  const secret = new Set(params.filter((param) => param.secret || param.hidden).map(({ name }) => name));
  return Object.fromEntries(
    Object.entries(conf).map(([name, value]) => [name, secret.has(name) ? "(as entered)" : value]),
  );
}
