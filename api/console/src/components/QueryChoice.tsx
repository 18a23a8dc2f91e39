import { setQuery, useLocation } from "../app/router";

export interface QueryChoiceProps {
  /** Read to screen readers; the options say it to others. */
  label: string;
  /** The parameter in the address. */
  name: string;
  options: readonly [value: string, text: string][];
  className?: string;
}

/** A choice of one of several values of a filter, which is kept in the address. */
export function QueryChoice({ label, name, options, className = "choice" }: QueryChoiceProps) {
  const { query } = useLocation();
  return (
    <label class={className}>
      <span class="hidden-visually">{label}</span>
      <select
        class="select"
        value={query.get(name) ?? ""}
        onChange={(event) => setQuery({ [name]: event.currentTarget.value })}
      >
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}
