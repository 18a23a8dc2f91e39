import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import "./drawings.css";

interface TwinProps {
  title: string;
  /** What stands between the title and the switch. */
  tools?: ComponentChildren;
  drawing: () => ComponentChildren;
  /** The same data as a table, for readers of text. */
  table: () => ComponentChildren;
  foot?: ComponentChildren;
}

/** A panel with a drawing that can be read as a table instead. */
export function Twin({ title, tools, drawing, table, foot }: TwinProps) {
  const [asTable, setAsTable] = useState(false);
  return (
    <section class="panel" aria-label={title}>
      <div class="panel-head row-wrap">
        <h2>{title}</h2>
        {tools}
        <div class="segmented push" role="group" aria-label={`${title}: show as`}>
          <button type="button" aria-pressed={!asTable} onClick={() => setAsTable(false)}>
            Drawing
          </button>
          <button type="button" aria-pressed={asTable} onClick={() => setAsTable(true)}>
            Table
          </button>
        </div>
      </div>
      {asTable ? table() : drawing()}
      {foot && <div class="twin-foot">{foot}</div>}
    </section>
  );
}
