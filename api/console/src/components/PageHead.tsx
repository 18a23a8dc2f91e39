import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";

interface PageHeadProps {
  title: string;
  /** What stands before the title in the browser's tab and above it on the page. */
  crumbs?: { label: string; to: string }[];
  children?: ComponentChildren;
  actions?: ComponentChildren;
}

/** The title of a page, which is the document's title too. */
export function PageHead({ title, crumbs = [], children, actions }: PageHeadProps) {
  useEffect(() => {
    document.title = `${title} · Orchestration`;
  }, [title]);
  return (
    <div class="page-head">
      <div>
        {crumbs.length > 0 && (
          <nav class="crumbs" aria-label="Path">
            {crumbs.map((crumb) => (
              <span key={crumb.to}>
                <a href={crumb.to}>{crumb.label}</a> /
              </span>
            ))}
          </nav>
        )}
        <h1>{title}</h1>
        {children}
      </div>
      {actions && <div class="page-head-actions">{actions}</div>}
    </div>
  );
}
