import { type ComponentChildren, Fragment } from "preact";
import { useId } from "preact/hooks";
import { confOfText } from "./trigger_conf";
import { type Param, sectionsOf } from "./trigger_params";

interface ConfFieldsProps {
  params: readonly Param[];
  texts: ReadonlyMap<string, string>;
  faults: ReadonlyMap<string, string>;
  change: (name: string, text: string) => void;
}

/** A field per parameter, of the kind that its schema says, below the titles of their sections. */
export function ConfFields({ params, texts, faults, change }: ConfFieldsProps) {
  return (
    <>
      {sectionsOf(params).map(([section, members]) => (
        <Fragment key={section ?? ""}>
          {section !== null && <h3 class="conf-section">{section}</h3>}
          {members.map((param) => (
            <ConfField
              key={param.name}
              param={param}
              text={texts.get(param.name) ?? param.text}
              fault={faults.get(param.name) ?? null}
              change={(text) => change(param.name, text)}
            />
          ))}
        </Fragment>
      ))}
    </>
  );
}

interface ConfFieldProps {
  param: Param;
  text: string;
  fault: string | null;
  change: (text: string) => void;
}

function ConfField({ param, text, fault, change }: ConfFieldProps) {
  const id = useId();
  const help = helpOf(param);
  const described = [help ? `${id}-help` : "", fault ? `${id}-fault` : ""].filter(Boolean).join(" ");
  const common = { id, "aria-invalid": fault !== null, "aria-describedby": described || undefined };
  const notes = (
    <>
      {help && (
        <span class="field-help" id={`${id}-help`}>
          {help}
        </span>
      )}
      {fault && (
        <span class="field-fault" id={`${id}-fault`}>
          {fault}
        </span>
      )}
    </>
  );
  if (param.kind === "boolean") {
    return (
      <div class="field">
        <label class="check">
          <input
            {...common}
            type="checkbox"
            checked={text === "true"}
            onChange={({ currentTarget }) => change(String(currentTarget.checked))}
          />
          {param.title}
          <HiddenTag param={param} />
        </label>
        {notes}
      </div>
    );
  }
  return (
    <div class="field">
      <div class="row">
        <label class="field-label" for={id}>
          {param.title}
        </label>
        <HiddenTag param={param} />
      </div>
      <Control param={param} text={text} change={change} common={common} />
      {notes}
    </div>
  );
}

function HiddenTag({ param }: { param: Param }) {
  return param.hidden ? <span class="tag">Hidden</span> : null;
}

function helpOf(param: Param): string {
  const { description, kind, examples, secret, hidden } = param;
  const sentences = [description];
  if (kind === "lines") sentences.push("One value in each line.");
  if (examples.length > 0 && !hasSuggestions(param))
    sentences.push(`For example: ${examples.slice(0, 5).join(", ")}.`);
  if (hidden && param.text === "")
    sentences.push(
      "The earlier run had a secret value. Enter it again, or leave it empty to use the default.",
    );
  else if (hidden)
    sentences.push("The earlier run had secret values, which are shown as ***: enter them again.");
  else if (secret) sentences.push("Its default is secret. Leave it empty to keep it.");
  return sentences.filter(Boolean).join(" ");
}

/** Whether the examples are offered as one types. */
function hasSuggestions({ kind, secret, hidden }: Param): boolean {
  return ["text", "integer", "number"].includes(kind) && !secret && !hidden;
}

type ControlProps = Omit<ConfFieldProps, "fault"> & { common: { id: string } };

function Control({ param, text, change, common }: ControlProps) {
  switch (param.kind) {
    case "choice":
      return (
        <select
          {...common}
          class="select"
          value={text}
          onChange={({ currentTarget }) => change(currentTarget.value)}
        >
          {param.choices.map((choice) => (
            <option key={choice.text} value={choice.text}>
              {choice.label}
            </option>
          ))}
        </select>
      );
    case "json":
    case "lines":
    case "multiline":
      return (
        <textarea
          {...common}
          class={param.kind === "json" ? "textarea code" : "textarea"}
          rows={Math.max(3, Math.min(10, text.split("\n").length))}
          spellcheck={false}
          value={text}
          onInput={({ currentTarget }) => change(currentTarget.value)}
        />
      );
    default:
      return <LineInput param={param} text={text} change={change} common={common} />;
  }
}

/** A field of one line; examples are offered as one types. */
function LineInput({ param, text, change, common }: ControlProps) {
  const { kind, examples } = param;
  const isSecret = kind === "text" && (param.secret || param.hidden);
  const list = hasSuggestions(param) && examples.length > 0 ? `${common.id}-list` : undefined;
  const type = kind === "date" ? "date" : isSecret ? "password" : "text";
  return (
    <>
      <input
        {...common}
        class="input"
        type={type as "text"}
        inputMode={kind === "integer" ? "numeric" : kind === "number" ? "decimal" : undefined}
        autoComplete="off"
        list={list}
        value={text}
        onInput={({ currentTarget }) => change(currentTarget.value)}
      />
      {list && (
        <datalist id={list}>
          {examples.map((example) => (
            <option key={example} value={example} />
          ))}
        </datalist>
      )}
    </>
  );
}

interface ConfTextProps {
  text: string;
  fault: string | null;
  change: (text: string) => void;
  /** What is to be said about the configuration besides. */
  children?: ComponentChildren;
}

/** The configuration as JSON. A fault is shown once the reader wanted to continue, until the text changes. */
export function ConfText({ text, fault, change, children }: ConfTextProps) {
  const id = useId();
  const valid = confOfText(text).fault === undefined;
  const format = () => {
    const { conf } = confOfText(text);
    if (conf !== undefined) change(JSON.stringify(conf, null, 2));
  };
  return (
    <div class="field">
      <div class="row spread">
        <label class="field-label" for={id}>
          Configuration
        </label>
        <button
          type="button"
          class="link-button small"
          disabled={!valid || text.trim() === ""}
          onClick={format}
        >
          Format
        </button>
      </div>
      <textarea
        id={id}
        class="textarea code"
        rows={Math.max(7, Math.min(16, text.split("\n").length))}
        spellcheck={false}
        placeholder="{}"
        value={text}
        aria-invalid={fault !== null}
        aria-describedby={`${id}-help ${id}-fault`}
        onInput={({ currentTarget }) => change(currentTarget.value)}
      />
      <span class="field-help" id={`${id}-help`}>
        A JSON object. Leave it empty for none. {children}
      </span>
      <span class="field-fault" id={`${id}-fault`} role="alert">
        {fault ?? ""}
      </span>
    </div>
  );
}
