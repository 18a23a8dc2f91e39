// The home of a space: what fails, what runs, and what changed in the last hour.
import type { ComponentChildren } from "preact";
import { send } from "../../api/client";
import { type ListAnswer, readList } from "../../api/lists";
import type { Connector, Facets, Incident, Pipeline, Run } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { paths } from "../../app/paths";
import type { PageProps } from "../../app/routes";
import { Line, Panel } from "../../components/Lines";
import { Blank, Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { StateShape } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { isStale, latestSync, useConnectors } from "../../data/connectors";
import { count } from "../../data/format";
import { useLiveBatch } from "../../data/live";
import { type Resource, useResource } from "../../data/resource";
import { RunStrip } from "../../drawings/RunStrip";
import { LATE_OR_SLOW, UNRESOLVED, stateOfKind } from "../incidents/words";

const SHOWN = 8;
const HOUR_MILLIS = 3_600_000;

/** Rounded to the minute, so that the address of a read stays the same for a while. */
function since(now: number, hours: number): string {
  return new Date(Math.floor((now - hours * HOUR_MILLIS) / 60_000) * 60_000)
    .toISOString()
    .replace(".000Z", "Z");
}

interface NowData {
  facets: Resource<Facets>;
  failing: Resource<ListAnswer<Pipeline>>;
  running: Resource<ListAnswer<Run>>;
  failedDay: Resource<ListAnswer<Run>>;
  lastHour: Resource<ListAnswer<Run>>;
  late: Resource<ListAnswer<Incident>>;
}

function useNowData(slug: string): NowData {
  const base = `/spaces/${slug}/orchestration`;
  const list = <T,>(name: string, path: string, query: () => Record<string, string | number | string[]>) =>
    useResource(`now ${name} ${slug}`, (signal) => readList<T>(base + path, query(), signal), {
      everySeconds: 60,
    });
  const data: NowData = {
    facets: useResource(`now facets ${slug}`, (signal) =>
      send<Facets>("GET", `${base}/pipelines/facets`, undefined, signal),
    ),
    failing: list("failing", "/pipelines", () => ({
      status: "failed",
      sort: "-last_run",
      size: SHOWN,
      recent_runs: 25,
    })),
    running: list("running", "/runs", () => ({ status: "running", sort: "started_at", size: SHOWN })),
    failedDay: list("failed", "/runs", () => ({
      status: "failed",
      ended_from: since(Date.now(), 24),
      size: 1,
    })),
    late: list("late", "/incidents", () => ({ status: UNRESOLVED, kind: LATE_OR_SLOW, size: SHOWN })),
    lastHour: list("hour", "/runs", () => ({
      ended_from: since(Date.now(), 1),
      sort: "-ended_at",
      size: SHOWN,
    })),
  };
  useLiveBatch(
    (event) => (["run", "pipeline", "incident"].includes(event.type) ? event.data.id : null),
    () => Object.values(data).forEach((resource) => resource.refresh()),
    2000,
  );
  return data;
}

export default function NowPage({ slug }: PageProps) {
  const data = useNowData(slug);
  useRowKeys();
  return (
    <div class="page">
      <PageHead title="Now" />
      <Tiles slug={slug} data={data} />
      <div class="columns">
        <div class="stack">
          <Failing slug={slug} resource={data.failing} />
          <LateOrSlow slug={slug} resource={data.late} />
          <LastHour slug={slug} resource={data.lastHour} />
        </div>
        <div class="stack">
          <Running slug={slug} resource={data.running} />
          <Syncs slug={slug} />
        </div>
      </div>
    </div>
  );
}

function Tiles({ slug, data }: { slug: string; data: NowData }) {
  const status = (value: string) => {
    const known = data.facets.data?.status;
    return known ? (known.find((one) => one.value === value)?.count ?? 0) : null;
  };
  const total = data.facets.data?.status.reduce((sum, one) => sum + one.count, 0) ?? null;
  return (
    <ul class="tiles">
      <Tile
        status="failed"
        label="Failing pipelines"
        value={status("failed")}
        to={paths.pipelines(slug, "status=failed")}
      />
      <Tile
        status="running"
        label="Running now"
        value={data.running.data?.total ?? null}
        to={paths.runs(slug, "status=running")}
      />
      <Tile
        status="failed"
        label="Failed runs in 24 hours"
        value={data.failedDay.data?.total ?? null}
        to={paths.runs(slug, "status=failed&last=24h")}
      />
      <Tile
        status="success"
        label="Pipelines whose last run succeeded"
        value={status("success")}
        to={paths.pipelines(slug, "status=success")}
      >
        {total !== null && <span class="quiet"> of {count(total)}</span>}
      </Tile>
    </ul>
  );
}

interface TileProps {
  status: string;
  label: string;
  value: number | null;
  to: string;
  children?: ComponentChildren;
}

function Tile({ status, label, value, to, children }: TileProps) {
  return (
    <li>
      <a class="tile" href={to}>
        <span class="tile-label">{label}</span>
        <span class="tile-value">
          <StateShape status={value === 0 && status === "failed" ? "success" : status} />
          {count(value)}
          {children}
        </span>
      </a>
    </li>
  );
}

interface LinesPanelProps<D, T> {
  title: string;
  more: { label: string; to: string };
  resource: Resource<D>;
  /** What is loaded, in words for a sentence. */
  what: string;
  /** What is shown without any line. */
  empty: string;
  rows(data: D): T[];
  line(row: T): ComponentChildren;
  /** What follows the lines. */
  after?(data: D): ComponentChildren;
}

function LinesPanel<D, T>({ title, more, resource, what, empty, rows, line, after }: LinesPanelProps<D, T>) {
  return (
    <Panel title={title} more={more}>
      <Load resource={resource} what={what} lines={4}>
        {(data) =>
          rows(data).length === 0 ? (
            <Blank title={empty} />
          ) : (
            <ul class="lines">
              {rows(data).map(line)}
              {after?.(data)}
            </ul>
          )
        }
      </Load>
    </Panel>
  );
}

function Failing({ slug, resource }: { slug: string; resource: Resource<ListAnswer<Pipeline>> }) {
  return (
    <LinesPanel
      title="Failing"
      more={{ label: "All failing pipelines", to: paths.pipelines(slug, "status=failed&sort=-last_run") }}
      resource={resource}
      what="the failing pipelines"
      empty="No pipeline is failing"
      rows={({ rows }) => rows}
      line={(pipeline) => (
        <Line
          key={pipeline.id}
          status={pipeline.status}
          name={pipeline.name}
          to={paths.pipeline(slug, pipeline.id)}
          detail={[pipeline.team?.name, pipeline.owners.join(", ")].filter(Boolean).join(" · ") || "No owner"}
        >
          <RunStrip slug={slug} runs={pipeline.recent_runs ?? []} />
          {pipeline.last_run && (
            <a class="line-time" href={paths.run(slug, pipeline.last_run.id)}>
              <Time at={pipeline.last_run.ended_at ?? pipeline.last_run.started_at} as="relative" />
            </a>
          )}
        </Line>
      )}
    />
  );
}

function LateOrSlow({ slug, resource }: { slug: string; resource: Resource<ListAnswer<Incident>> }) {
  return (
    <LinesPanel
      title="Late and slow"
      more={{ label: "All incidents", to: paths.incidents(slug) }}
      resource={resource}
      what="what is late or slow"
      empty="Nothing is late or slow"
      rows={({ rows }) => rows}
      line={(incident) => (
        <Line
          key={incident.id}
          status={stateOfKind(incident.kind)}
          name={incident.pipeline_name ?? ""}
          to={paths.pipeline(slug, incident.pipeline_id ?? "")}
          detail={aboutIt(incident)}
        >
          <Time at={incident.opened_at} as="relative" />
        </Line>
      )}
    />
  );
}

/** The sentence without the name, which stands above it. */
function aboutIt({ summary, pipeline_name }: Incident): string {
  const rest = summary.startsWith(`${pipeline_name} `)
    ? summary.slice((pipeline_name ?? "").length + 1)
    : summary;
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

function Running({ slug, resource }: { slug: string; resource: Resource<ListAnswer<Run>> }) {
  return (
    <LinesPanel
      title="Running longest"
      more={{ label: "All running", to: paths.runs(slug, "status=running") }}
      resource={resource}
      what="the running runs"
      empty="Nothing is running"
      rows={({ rows }) => rows}
      line={(run) => (
        <RunLine
          key={run.id}
          slug={slug}
          run={run}
          detail={
            <>
              Started <Time at={run.started_at} as="relative" />
            </>
          }
        >
          <Took run={run} />
        </RunLine>
      )}
    />
  );
}

function LastHour({ slug, resource }: { slug: string; resource: Resource<ListAnswer<Run>> }) {
  return (
    <LinesPanel
      title="Ended in the last hour"
      more={{ label: "All runs", to: paths.runs(slug, "last=1h") }}
      resource={resource}
      what="the runs of the last hour"
      empty="No run ended in the last hour"
      rows={({ rows }) => rows}
      line={(run) => (
        <RunLine key={run.id} slug={slug} run={run} detail={<Took run={run} />}>
          <Time at={run.ended_at} as="relative" />
        </RunLine>
      )}
      after={({ total, rows }) =>
        total > rows.length && <li class="line quiet small">and {count(total - rows.length)} more</li>
      }
    />
  );
}

interface RunLineProps {
  slug: string;
  run: Run;
  detail: ComponentChildren;
  children: ComponentChildren;
}

function RunLine({ slug, run, detail, children }: RunLineProps) {
  return (
    <Line status={run.status} name={run.pipeline_name} to={paths.run(slug, run.id)} detail={detail}>
      {children}
    </Line>
  );
}

function Took({ run }: { run: Run }) {
  return <Elapsed from={run.started_at} to={run.ended_at} seconds={run.duration_seconds} />;
}

function Syncs({ slug }: { slug: string }) {
  return (
    <LinesPanel
      title="Connectors"
      more={{ label: "All connectors", to: paths.connectors(slug) }}
      resource={useConnectors(slug)}
      what="the connectors"
      empty="This space has no connector yet"
      rows={(connectors) => worstFirst(connectors).slice(0, SHOWN)}
      line={(one) => <ConnectorLine key={one.id} slug={slug} connector={one} />}
    />
  );
}

function worstFirst(connectors: Connector[]): Connector[] {
  const rank = (one: Connector) => (one.failures > 0 ? 0 : one.is_active ? 1 : 2);
  return [...connectors].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
}

function ConnectorLine({ slug, connector }: { slug: string; connector: Connector }) {
  const now = useNow(30);
  const failed = connector.failures > 0;
  const status = !connector.is_active
    ? "skipped"
    : failed
      ? "failed"
      : isStale(connector, now)
        ? "unknown"
        : (latestSync(connector)?.status ?? "success");
  const detail = !connector.is_active
    ? "Switched off"
    : failed
      ? connector.last_error
      : `${count(connector.pipeline_count)} pipelines`;
  return (
    <Line status={status} name={connector.name} to={paths.connector(slug, connector.id)} detail={detail}>
      <span class="quiet small">
        read <Time at={connector.last_synced_at} as="relative" none="never" />
      </span>
    </Line>
  );
}
