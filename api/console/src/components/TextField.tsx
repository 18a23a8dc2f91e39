import { useId } from "preact/hooks";

interface TextFieldProps {
  label: string;
  value: string;
  change(value: string): void;
  type?: "text" | "password" | "url" | "number" | "search" | "date";
  /** Why the API did not accept the value. */
  fault?: string | undefined;
  help?: string;
  required?: boolean;
  placeholder?: string;
  maxLength?: number;
  autoComplete?: string;
  /** The id of a datalist with suggestions. */
  list?: string;
}

/** A labelled text field with its help, and its fault if the API has refused its value. */
export function TextField({ label, value, change, type = "text", fault, help, ...input }: TextFieldProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input
        id={id}
        class="input"
        type={type as "text"}
        value={value}
        aria-invalid={fault ? "true" : undefined}
        aria-describedby={fault || help ? `${id}-more` : undefined}
        {...input}
        onInput={(event) => change(event.currentTarget.value)}
      />
      {(fault || help) && (
        <p id={`${id}-more`} class={fault ? "field-fault" : "field-help"}>
          {fault ?? help}
        </p>
      )}
    </div>
  );
}
