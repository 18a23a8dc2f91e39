import { useId } from "preact/hooks";
import { confOfText, type Param } from "./trigger_params";

interface ConfFieldsProps {
  params: readonly Param[];
  texts: ReadonlyMap<string, string>;
  faults: ReadonlyMap<string, string>;
  change: (name: string, text: string) => void;
}

/** A field per parameter, of the kind that its schema says. */
export function ConfFields({ params, texts, faults, change }: ConfFieldsProps) {
  return (
    <>
      {params.map((param) => (
        <ConfField
          key={param.name}
          param={param}
          text={texts.get(param.name) ?? param.text}
          fault={faults.get(param.name) ?? null}
          change={(text) => change(param.name, text)}
        />
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
  const help = param.secret ? secretHelp(param) : param.description;
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
        </label>
        {notes}
      </div>
    );
  }
  return (
    <div class="field">
      <label for={id}>{param.title}</label>
      <Control param={param} text={text} change={change} common={common} />
      {notes}
    </div>
  );
}

function secretHelp({ description }: Param): string {
  return [description, "Its default is secret. Leave it empty to keep it."].filter(Boolean).join(" ");
}

function Control({ param, text, change, common }: Omit<ConfFieldProps, "fault"> & { common: object }) {
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
            <option key={JSON.stringify(choice)} value={JSON.stringify(choice)}>
              {typeof choice === "string" ? choice : JSON.stringify(choice)}
            </option>
          ))}
        </select>
      );
    case "json":
      return (
        <textarea
          {...common}
          class="textarea code"
          rows={3}
          spellcheck={false}
          value={text}
          onInput={({ currentTarget }) => change(currentTarget.value)}
        />
      );
    case "integer":
    case "number":
      return (
        <input
          {...common}
          class="input"
          inputMode={param.kind === "integer" ? "numeric" : "decimal"}
          value={text}
          onInput={({ currentTarget }) => change(currentTarget.value)}
        />
      );
    case "date":
      return (
        <input
          {...common}
          class="input"
          type="date"
          value={text}
          onInput={({ currentTarget }) => change(currentTarget.value)}
        />
      );
    default:
      return (
        <input
          {...common}
          class="input"
          type={(param.secret ? "password" : "text") as "text"}
          autoComplete="off"
          value={text}
          onInput={({ currentTarget }) => change(currentTarget.value)}
        />
      );
  }
}

interface ConfTextProps {
  text: string;
  fault: string | null;
  change: (text: string) => void;
}

/** The configuration as JSON. A fault is shown once the reader wanted to continue, until it is mended. */
export function ConfText({ text, fault, change }: ConfTextProps) {
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
        rows={7}
        spellcheck={false}
        placeholder="{}"
        value={text}
        aria-invalid={fault !== null}
        aria-describedby={`${id}-help ${id}-fault`}
        onInput={({ currentTarget }) => change(currentTarget.value)}
      />
      <span class="field-help" id={`${id}-help`}>
        A JSON object. Leave it empty for none.
      </span>
      <span class="field-fault" id={`${id}-fault`} role="alert">
        {fault !== null && !valid ? fault : ""}
      </span>
    </div>
  );
}
