import { useId } from "preact/hooks";

interface TextAreaProps {
  label: string;
  value: string;
  change(value: string): void;
  rows: number;
  /** Why the API did not accept the value. */
  fault?: string | undefined;
  help: string;
  required?: boolean;
  placeholder?: string;
}

/** A labelled text of several lines with its help, and its fault if the API has refused its value. */
export function TextArea({ label, value, change, fault, help, ...input }: TextAreaProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <textarea
        id={id}
        class="textarea"
        value={value}
        autoComplete="off"
        spellcheck={false}
        aria-invalid={fault ? "true" : undefined}
        aria-describedby={`${id}-more`}
        {...input}
        onInput={(event) => change(event.currentTarget.value)}
      />
      <p id={`${id}-more`} class={fault ? "field-fault" : "field-help"}>
        {fault ?? help}
      </p>
    </div>
  );
}
