import { useId } from "preact/hooks";

interface SelectFieldProps<T extends string> {
  label: string;
  value: T;
  options: readonly [value: T, text: string][];
  change(value: T): void;
}

/** A labelled choice of one of several values. */
export function SelectField<T extends string>({ label, value, options, change }: SelectFieldProps<T>) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select
        id={id}
        class="select"
        value={value}
        onChange={(event) => change(event.currentTarget.value as T)}
      >
        {options.map(([option, text]) => (
          <option key={option} value={option}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}
