// The home of a space: what fails, what runs, and what changed in the last hour.
import type { ComponentChildren } from "preact";
import type { ListAnswer } from "../../api/lists";
import type { Connector, Incident, Pipeline, Run } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { paths } from "../../app/paths";
import type { PageProps } from "../../app/routes";
import { Line, Panel } from "../../components/Lines";
import { Blank, Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { StateShape } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { isStale, latestSync, useConnectors, worstFirst } from "../../data/connectors";
import { count, counted } from "../../data/format";
import type { Resource } from "../../data/resource";
import { may } from "../../data/session";
import { RunStrip } from "../../drawings/RunStrip";
import { stateOfKind } from "../incidents/words";
import { lastRunsState } from "./last_runs";
import { type NowData, SHOWN, useNowData } from "./now_data";
import { type Shown, addressOf } from "./shown";

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
          <Connectors slug={slug} />
        </div>
      </div>
    </div>
  );
}

function Tiles({ slug, data }: { slug: string; data: NowData }) {
  const statuses = data.facets.data?.status;
  const succeeded = statuses && (statuses.find((one) => one.value === "success")?.count ?? 0);
  const total = statuses?.reduce((sum, one) => sum + one.count, 0);
  const state = statuses ? lastRunsState(statuses) : "unknown";
  const listed = (shown: Shown, { data: answer }: Resource<ListAnswer<unknown>>) => ({
    to: addressOf(shown, slug),
    value: answer?.total,
    isBound: answer?.isBound ?? false,
  });
  return (
    <ul class="tiles">
      <Tile label="Failing pipelines" {...trouble("failed", listed("failing", data.failing))} />
      <Tile label="Late or slow" {...trouble("deferred", listed("late", data.late))} />
      <Tile status="running" label="Running now" {...listed("running", data.running)} />
      <Tile label="Failed runs in 24 hours" {...trouble("failed", listed("failedDay", data.failedDay))} />
      <Tile
        status={state}
        label="Pipelines whose last run succeeded"
        value={succeeded}
        to={addressOf("succeeded", slug)}
      >
        {total !== undefined && <span class="quiet"> of {count(total)}</span>}
      </Tile>
    </ul>
  );
}

/** A state of which none is good news. */
function trouble<T extends { value: number | undefined }>(status: string, listed: T) {
  return { ...listed, status: listed.value === 0 ? "success" : status };
}

interface TileProps {
  status: string;
  label: string;
  value: number | undefined;
  /** Whether there are at least so many. */
  isBound?: boolean;
  to: string;
  children?: ComponentChildren;
}

function Tile({ status, label, value, isBound = false, to, children }: TileProps) {
  return (
    <li>
      <a class="tile" href={to}>
        <span class="tile-label">{label}</span>
        <span class="tile-value">
          <StateShape status={status} />
          {isBound && "over "}
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
  /** What follows that. */
  advice?: ComponentChildren;
  rows(data: D): T[];
  line(row: T): ComponentChildren;
  /** What follows the lines. */
  after?(data: D): ComponentChildren;
}

function LinesPanel<D, T>(props: LinesPanelProps<D, T>) {
  const { title, more, resource, what, empty, advice, rows, line, after } = props;
  return (
    <Panel title={title} more={more}>
      <Load resource={resource} what={what} lines={4}>
        {(data) =>
          rows(data).length === 0 ? (
            <Blank title={empty}>{advice}</Blank>
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
      more={{ label: "All failing pipelines", to: addressOf("failing", slug) }}
      resource={resource}
      what="the failing pipelines"
      empty="No pipeline is failing"
      rows={({ rows }) => rows}
      line={(pipeline) => (
        <Line
          key={pipeline.id}
          status="failed"
          name={pipeline.name}
          to={paths.pipeline(slug, pipeline.id)}
          detail={failingDetail(pipeline)}
        >
          <RunStrip slug={slug} name={pipeline.name} runs={pipeline.recent_runs ?? []} />
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

/** Whose it is. It is failing until a run succeeds, also while the next one runs. */
function failingDetail({ status, team, owners }: Pipeline): string {
  const next = status === "running" ? "Runs again" : status === "queued" ? "Queued again" : null;
  return [next, team?.name, owners.join(", ") || (team ? null : "No owner")].filter(Boolean).join(" · ");
}

function LateOrSlow({ slug, resource }: { slug: string; resource: Resource<ListAnswer<Incident>> }) {
  return (
    <LinesPanel
      title="Late and slow"
      more={{ label: "All that is late or slow", to: addressOf("late", slug) }}
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
      more={{ label: "All running", to: addressOf("running", slug) }}
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
      more={{ label: "All of the last hour", to: addressOf("lastHour", slug) }}
      resource={resource}
      what="the runs of the last hour"
      empty="No run ended in the last hour"
      rows={({ rows }) => rows}
      line={(run) => (
        <RunLine key={run.id} slug={slug} run={run} detail={<Took run={run} />}>
          <Time at={run.ended_at} as="relative" />
        </RunLine>
      )}
      after={({ total, rows }) => <More count={total - rows.length} />}
    />
  );
}

function More({ count: more }: { count: number }) {
  return more > 0 ? <li class="line quiet small">and {count(more)} more</li> : null;
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

function Connectors({ slug }: { slug: string }) {
  const now = useNow(30);
  return (
    <LinesPanel
      title="Connectors"
      more={{ label: "All connectors", to: paths.connectors(slug) }}
      resource={useConnectors(slug)}
      what="the connectors"
      empty="This space has no connector yet"
      advice={
        may(slug, "editor") && (
          <p>
            <a href={paths.newConnector(slug)}>Create the first connector</a>
          </p>
        )
      }
      rows={(connectors) => worstFirst(connectors, now).slice(0, SHOWN)}
      line={(one) => <ConnectorLine key={one.id} slug={slug} connector={one} now={now} />}
      after={({ length }) => <More count={length - SHOWN} />}
    />
  );
}

interface ConnectorLineProps {
  slug: string;
  connector: Connector;
  now: number;
}

function ConnectorLine({ slug, connector, now }: ConnectorLineProps) {
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
      : counted(connector.pipeline_count, "pipeline", "pipelines");
  return (
    <Line status={status} name={connector.name} to={paths.connector(slug, connector.id)} detail={detail}>
      <span class="quiet small">
        read <Time at={connector.last_synced_at} as="relative" none="never" />
      </span>
    </Line>
  );
}
