// Which page is shown at which path. Pages load when they are first opened.
import type { ComponentType } from "preact";
import { useEffect, useErrorBoundary, useRef, useState } from "preact/hooks";
import { Blank, Skeleton } from "../components/Load";
import { PageHead } from "../components/PageHead";
import { Shell } from "./Shell";
import { match, useLocation } from "./router";

export interface PageProps {
  slug: string;
  id: string;
}

type Page = ComponentType<PageProps>;
type PageLoader = () => Promise<{ default: Page }>;

const table: [pattern: string, load: PageLoader][] = [
  ["/s/:slug", () => import("../pages/now/NowPage")],
  ["/s/:slug/pipelines", () => import("../pages/pipelines/PipelinesPage")],
  ["/s/:slug/pipelines/:id", () => import("../pages/pipeline/PipelinePage")],
  ["/s/:slug/runs", () => import("../pages/runs/RunsPage")],
  ["/s/:slug/runs/:id", () => import("../pages/run/RunPage")],
  ["/s/:slug/connectors", () => import("../pages/connectors/ConnectorsPage")],
  ["/s/:slug/connectors/new", () => import("../pages/connectors/NewConnectorPage")],
  ["/s/:slug/connectors/:id", () => import("../pages/connectors/ConnectorPage")],
  ["/s/:slug/people", () => import("../pages/people/PeoplePage")],
  ["/s/:slug/notifications", () => import("../pages/notifications/NotificationsPage")],
  ["/s/:slug/notifications/:id", () => import("../pages/notifications/ChannelPage")],
  ["/s/:slug/audit", () => import("../pages/audit/AuditPage")],
  ["/s/:slug/incidents", () => import("../pages/incidents/IncidentsPage")],
  ["/s/:slug/incidents/:id", () => import("../pages/incidents/IncidentPage")],
  ["/inbox", () => import("../pages/inbox/InboxPage")],
  ["/account", () => import("../pages/account/AccountPage")],
];

const loaded = new Map<PageLoader, Page>();

function find(path: string): { load: PageLoader; params: Record<string, string> } | null {
  for (const [pattern, load] of table) {
    const params = match(pattern, path);
    if (params) return { load, params };
  }
  return null;
}

/** Fetches the script of the page at this path while the session is still asked for. */
export function preloadPage(path: string): void {
  // A failure shows when the page is opened.
  find(path)
    ?.load()
    .catch(() => undefined);
}

export function Routes() {
  const { path } = useLocation();
  const found = find(path);
  const slug = found?.params.slug ?? null;
  useFocusOnPage(path);
  return (
    <Shell slug={slug}>
      {found ? (
        <LoadedPage key={path} load={found.load} slug={slug ?? ""} id={found.params.id ?? ""} />
      ) : (
        <div class="page">
          <PageHead title="There is no such page" />
          <p>
            <a href="/">Go to the start</a>
          </p>
        </div>
      )}
    </Shell>
  );
}

/** A new page takes the focus, as a new document would: a screen reader begins to read there. */
function useFocusOnPage(path: string): void {
  const before = useRef(path);
  useEffect(() => {
    if (before.current === path) return;
    before.current = path;
    document.getElementById("main")?.focus({ preventScroll: true });
  }, [path]);
}

function LoadedPage({ load, slug, id }: { load: PageLoader } & PageProps) {
  const [page, setPage] = useState<Page | null>(() => loaded.get(load) ?? null);
  const [failed, setFailed] = useState(false);
  // An error of a page must not take the navigation with it.
  const [error] = useErrorBoundary((thrown: unknown) => reportError(thrown));
  useEffect(() => {
    if (page) return;
    load().then(
      (module) => {
        loaded.set(load, module.default);
        setPage(() => module.default);
      },
      () => setFailed(true),
    );
  }, [load]);
  if (error !== undefined) {
    return <Broken title="This page has stopped" text="It met an error that it was not prepared for." />;
  }
  if (page) {
    const Page = page;
    return <Page slug={slug} id={id} />;
  }
  if (!failed) return <Skeleton lines={8} what="the page" />;
  return <Broken title="This page could not be loaded" text="The console may have been updated." />;
}

function Broken({ title, text }: { title: string; text: string }) {
  return (
    <Blank title={title}>
      <p>{text}</p>
      <button type="button" class="button" onClick={() => window.location.reload()}>
        Load it again
      </button>
    </Blank>
  );
}
