// The parameters of a run, as the provider has them, and the configuration that is sent.
import type { Parameter } from "../../../api/model";

export type ParamKind = "text" | "integer" | "number" | "boolean" | "choice" | "date" | "time" | "json";

export interface Param {
  name: string;
  title: string;
  description: string | null;
  kind: ParamKind;
  choices: readonly unknown[];
  /** What the field shows at first. */
  text: string;
  nullable: boolean;
  /** Whether the default is secret: an empty field leaves it to the provider. */
  secret: boolean;
  schema: Fields;
}

export type Conf = Record<string, unknown>;
export type ConfResult =
  { conf: Conf; faults?: undefined } | { conf?: undefined; faults: Map<string, string> };

type Fields = Record<string, unknown>;

/** What stands in a run's configuration for what is secret. */
const REDACTED = "***";

/** The fields of a form, which begin with the defaults, or with the configuration of an earlier run. */
export function paramsOf(parameters: readonly Parameter[], earlier: Conf = {}): Param[] {
  return parameters.map((parameter) => paramOf(parameter, earlier[parameter.name]));
}

/** Whether the parameters say all that a configuration contains, so that a form can stand for it. */
export function covers(parameters: readonly Parameter[], conf: Conf): boolean {
  const names = new Set(parameters.map(({ name }) => name));
  return Object.keys(conf).every((name) => names.has(name));
}

function paramOf({ name, value, schema, description, is_redacted }: Parameter, earlier: unknown): Param {
  const isGiven = earlier !== undefined && earlier !== REDACTED;
  const shown: unknown = isGiven ? earlier : value;
  const listed = Array.isArray(schema.enum) ? (schema.enum as unknown[]) : [];
  const isListed = listed.some((choice) => JSON.stringify(choice) === JSON.stringify(shown));
  const choices = listed.length === 0 || isListed ? listed : [shown ?? null, ...listed];
  const kind = kindOf(schema, shown, choices);
  return {
    name,
    title: typeof schema.title === "string" ? schema.title : name,
    description,
    kind,
    choices,
    text: is_redacted && !isGiven ? "" : fieldText(kind, shown),
    nullable: typesOf(schema).includes("null"),
    secret: is_redacted,
    schema,
  };
}

function typesOf(schema: Fields): string[] {
  return [schema.type].flat().filter((type) => typeof type === "string");
}

function kindOf(schema: Fields, value: unknown, choices: readonly unknown[]): ParamKind {
  if (choices.length > 0) return "choice";
  const types = typesOf(schema).filter((type) => type !== "null");
  const type = types.length === 1 ? types[0] : types.length === 0 ? typeof value : "several";
  switch (type) {
    case "boolean":
    case "integer":
    case "number":
      return type;
    case "string":
      if (schema.format === "date") return "date";
      return schema.format === "date-time" ? "time" : "text";
    default:
      return "json";
  }
}

function fieldText(kind: ParamKind, value: unknown): string {
  if (kind === "json" || kind === "choice") return value === undefined ? "" : JSON.stringify(value);
  return value === null || value === undefined ? "" : String(value);
}

/** The configuration that the fields stand for, or what is wrong with which field. */
export function confOf(params: readonly Param[], texts: ReadonlyMap<string, string>): ConfResult {
  const conf: Conf = {};
  const faults = new Map<string, string>();
  for (const param of params) {
    const text = texts.get(param.name) ?? param.text;
    if (param.secret && text === "") continue;
    const read = valueOf(param, text);
    if (read.fault === undefined) conf[param.name] = read.value;
    else faults.set(param.name, read.fault);
  }
  return faults.size === 0 ? { conf } : { faults };
}

type Value = { value: unknown; fault?: undefined } | { value?: undefined; fault: string };

function valueOf(param: Param, text: string): Value {
  if (text.trim() === "" && param.nullable) return { value: null };
  switch (param.kind) {
    case "boolean":
      return { value: text === "true" };
    case "integer":
    case "number":
      return numberOf(param, text);
    case "choice":
      return jsonOf(text);
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

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
