// The parameters of a run, as the provider has them, as the fields of a form. The schemas are JSON Schema with what
// Airflow adds for its own form: `section`, `values_display`, `description_md` and the format `multiline`.
import type { Parameter } from "../../../api/model";
import { HIDDEN, hiddenPlaces } from "./hidden";

export type ParamKind =
  | "text"
  | "multiline"
  /** A list of texts, one in each line. */
  | "lines"
  | "integer"
  | "number"
  | "boolean"
  | "choice"
  | "date"
  | "time"
  | "json";

export interface Choice {
  /** What the field holds: JSON, or nothing for no choice. */
  text: string;
  label: string;
}

export interface Param {
  name: string;
  title: string;
  description: string | null;
  section: string | null;
  kind: ParamKind;
  choices: readonly Choice[];
  examples: readonly string[];
  /** What the field shows at first. */
  text: string;
  nullable: boolean;
  /** Whether the provider has no default, so that a run needs a value. */
  required: boolean;
  /** Whether the default is secret: an empty field leaves it to the provider. */
  secret: boolean;
  /** Whether the earlier run had a secret value, which is not known here. */
  hidden: boolean;
  schema: Fields;
}

export type Conf = Record<string, unknown>;
export type Fields = Record<string, unknown>;

/** The fields of a form, which begin with the defaults, or with the configuration of an earlier run. */
export function paramsOf(parameters: readonly Parameter[], earlier: Conf = {}): Param[] {
  return parameters.map((parameter) => paramOf(parameter, earlier[parameter.name]));
}

/** Whether the parameters say all that a configuration contains, so that a form can stand for it. */
export function covers(parameters: readonly { name: string }[], conf: Conf): boolean {
  const names = new Set(parameters.map(({ name }) => name));
  return Object.keys(conf).every((name) => names.has(name));
}

/** The parameters by their section, those without one first. */
export function sectionsOf(params: readonly Param[]): [section: string | null, params: Param[]][] {
  const sections = new Map<string | null, Param[]>([[null, []]]);
  for (const param of params) sections.set(param.section, [...(sections.get(param.section) ?? []), param]);
  return [...sections].filter(([, members]) => members.length > 0);
}

function paramOf(parameter: Parameter, earlier: unknown): Param {
  const { name, value, schema, is_redacted } = parameter;
  const isHidden = earlier === HIDDEN;
  const isGiven = earlier !== undefined && !isHidden;
  const shown: unknown = isGiven ? earlier : value;
  // Neither the default nor the earlier value is known.
  const isUnknown = isHidden || (is_redacted && !isGiven);
  const choices = choicesOf(schema, shown, isUnknown);
  const kind = kindOf(schema, shown, choices);
  const types = typesOf(schema);
  const isNull = value === null || value === undefined;
  const nullable = types.includes("null") || (types.length === 0 && isNull && choices.length === 0);
  return {
    name,
    title: textOf(schema.title) ?? name,
    description: parameter.description ?? textOf(schema.description_md),
    section: textOf(schema.section),
    kind,
    choices,
    examples: examplesOf(schema),
    text: isUnknown ? "" : fieldText(kind, shown, choices),
    nullable,
    required: isNull && !is_redacted && !nullable && kind !== "boolean",
    secret: is_redacted,
    hidden: isHidden || hiddenPlaces(earlier).length > 0,
    schema,
  };
}

export function typesOf(schema: Fields): string[] {
  return [schema.type].flat().filter((type) => typeof type === "string");
}

function kindOf(schema: Fields, value: unknown, choices: readonly Choice[]): ParamKind {
  if (choices.length > 0) return "choice";
  const types = typesOf(schema).filter((type) => type !== "null");
  const type = types.length === 1 ? types[0] : types.length === 0 ? typeOfDefault(value) : "several";
  switch (type) {
    case "boolean":
    case "integer":
    case "number":
      return type;
    case "array":
      return isListOfTexts(schema, value) ? "lines" : "json";
    case "string":
      return kindOfText(schema, value);
    default:
      return "json";
  }
}

/** Without a type, Airflow reads what is typed as the default is: as text where there is none. */
function typeOfDefault(value: unknown): string {
  if (value === null || value === undefined) return "string";
  return Array.isArray(value) ? "array" : typeof value;
}

function kindOfText(schema: Fields, value: unknown): ParamKind {
  if (schema.format === "date") return "date";
  if (schema.format === "date-time") return "time";
  // A field of one line would leave out the ends of lines.
  const hasLines = typeof value === "string" && value.includes("\n");
  return schema.format === "multiline" || hasLines ? "multiline" : "text";
}

function isListOfTexts({ items }: Fields, value: unknown): boolean {
  if (isObject(items) && items.type !== undefined && items.type !== "string") return false;
  const list = value ?? [];
  return Array.isArray(list) && list.every((one) => typeof one === "string" && !one.includes("\n"));
}

function choicesOf(schema: Fields, shown: unknown, isUnknown: boolean): Choice[] {
  const constant = schema.const === undefined ? [] : [schema.const];
  const listed: unknown[] = Array.isArray(schema.enum) ? schema.enum : constant;
  if (listed.length === 0) return [];
  const labels = isObject(schema.values_display) ? schema.values_display : {};
  const choices = listed.map((value) => ({ text: JSON.stringify(value), label: labelOf(value, labels) }));
  if (isUnknown) return [{ text: "", label: "The default" }, ...choices];
  if (choices.some(({ text }) => text === JSON.stringify(shown))) return choices;
  if (shown === null || shown === undefined) return [{ text: "", label: "Choose…" }, ...choices];
  return [{ text: JSON.stringify(shown), label: labelOf(shown, labels) }, ...choices];
}

function labelOf(value: unknown, labels: Fields): string {
  const label = labels[String(value)];
  if (typeof label === "string") return label;
  if (value === null) return "None";
  return typeof value === "string" ? value : JSON.stringify(value);
}

const MOST_EXAMPLES = 100;

function examplesOf({ examples }: Fields): string[] {
  if (!Array.isArray(examples)) return [];
  const plain = examples.filter((one) => typeof one === "string" || typeof one === "number");
  return plain.slice(0, MOST_EXAMPLES).map(String);
}

function fieldText(kind: ParamKind, value: unknown, choices: readonly Choice[]): string {
  // "None" may be one of the choices.
  if (kind === "choice") return choices.find(({ text }) => text === JSON.stringify(value))?.text ?? "";
  if (value === null || value === undefined) return "";
  if (kind === "lines" && Array.isArray(value)) return value.join("\n");
  if (typeof value === "object") return JSON.stringify(value, null, 2);
  return kind === "json" ? JSON.stringify(value) : String(value);
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

export function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
