// Short lists of things that link to their page: a state, a name, a detail, and a time at the right.
import type { ComponentChildren } from "preact";
import { StateShape } from "./State";

interface LineProps {
  status: string;
  to: string;
  name: string;
  detail?: ComponentChildren;
  children?: ComponentChildren;
}

export function Line({ status, to, name, detail, children }: LineProps) {
  return (
    <li class="line">
      <StateShape status={status} labelled />
      <div class="line-text">
        <a class="name-link clip" data-row href={to}>
          {name}
        </a>
        {detail && <div class="quiet small clip">{detail}</div>}
      </div>
      <div class="line-end">{children}</div>
    </li>
  );
}

interface PanelProps {
  title: string;
  more?: { label: string; to: string };
  children: ComponentChildren;
}

export function Panel({ title, more, children }: PanelProps) {
  return (
    <section class="panel" aria-label={title}>
      <div class="panel-head">
        <h2>{title}</h2>
        {more && (
          <a class="push small" href={more.to}>
            {more.label}
          </a>
        )}
      </div>
      {children}
    </section>
  );
}
