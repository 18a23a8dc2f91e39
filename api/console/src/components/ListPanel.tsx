// A panel with a table of things that people manage: keys, sessions, members, teams, groups.
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Resource } from "../data/resource";
import { Icon } from "./Icon";
import { Load } from "./Load";

interface ListPanelProps<T> {
  title: string;
  resource: Resource<T[]>;
  /** What is loaded, in words for a sentence: `your keys`. */
  what: string;
  lines?: number;
  /** The button that adds one, and its dialog; none without the right to it. */
  add?: { label: string; dialog(close: () => void): ComponentChildren } | null;
  /** What is shown instead of an empty table. */
  empty: ComponentChildren;
  /** The heads of the table's columns. */
  head: ComponentChildren;
  className?: string;
  row(item: T): ComponentChildren;
}

export function ListPanel<T>(props: ListPanelProps<T>) {
  const { title, resource, what, lines = 3, add, empty, head, className = "", row } = props;
  const [adding, setAdding] = useState(false);
  return (
    <section class="panel" aria-label={title}>
      <div class="panel-head">
        <h2>{title}</h2>
        {add && (
          <button type="button" class="button push" onClick={() => setAdding(true)}>
            <Icon name="plus" />
            {add.label}
          </button>
        )}
      </div>
      <Load resource={resource} what={what} lines={lines}>
        {(all) =>
          all.length === 0 ? (
            <>{empty}</>
          ) : (
            <table class={`table ${className}`}>
              <thead>
                <tr>{head}</tr>
              </thead>
              <tbody>{all.map(row)}</tbody>
            </table>
          )
        }
      </Load>
      {adding && add?.dialog(() => setAdding(false))}
    </section>
  );
}

/** The head of a column of buttons. */
export function ActionsHead({ className }: { className: string }) {
  return (
    <th class={className}>
      <span class="hidden-visually">Actions</span>
    </th>
  );
}
