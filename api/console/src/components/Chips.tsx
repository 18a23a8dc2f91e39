import type { ComponentChildren } from "preact";

interface ChipsProps<T extends string> {
  /** Read to screen readers. */
  label: string;
  values: readonly T[];
  isChosen(value: T): boolean;
  toggle(value: T): void;
  text(value: T): ComponentChildren;
}

/** Values of which each may be chosen, for a filter. */
export function Chips<T extends string>({ label, values, isChosen, toggle, text }: ChipsProps<T>) {
  if (values.length === 0) return null;
  return (
    <div class="row row-wrap" role="group" aria-label={label}>
      {values.map((value) => (
        <button
          key={value}
          type="button"
          class="chip"
          aria-pressed={isChosen(value)}
          onClick={() => toggle(value)}
        >
          {text(value)}
        </button>
      ))}
    </div>
  );
}

/** The values after one of them was toggled. */
export function toggled(chosen: readonly string[], value: string): string[] {
  return chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value];
}
