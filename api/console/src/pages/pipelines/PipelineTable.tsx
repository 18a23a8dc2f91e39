// The rows of the list of pipelines. Only those in view are in the document.
import { useEffect, useRef } from "preact/hooks";
import type { Pipeline } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { paths } from "../../app/paths";
import { setQuery } from "../../app/router";
import { Criticality } from "../../components/Criticality";
import { HealthTag } from "../../components/Health";
import { Icon } from "../../components/Icon";
import { NotRead } from "../../components/Load";
import { Spacer } from "../../components/Spacer";
import { StateShape } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { count, duration, percent } from "../../data/format";
import type { PagedList } from "../../data/pages";
import { useVirtualRows } from "../../data/virtual";
import { RunStrip } from "../../drawings/RunStrip";
import { labelOf } from "../../drawings/states";
import { nextSort, sortDirection } from "./filters";

const ROW_HEIGHT = 52;

interface PipelineTableProps {
  slug: string;
  list: PagedList<Pipeline>;
  sort: string;
  /** The chosen ids; without the right to change something there is no choice. */
  chosen: Set<string> | null;
  choose(ids: string[], chosen: boolean): void;
  watch(pipeline: Pipeline): void;
}

export function PipelineTable(props: PipelineTableProps) {
  const { list, chosen, choose } = props;
  const body = useRef<HTMLTableSectionElement>(null);
  const total = list.total ?? 0;
  const { first, end } = useVirtualRows(body, total, ROW_HEIGHT);
  useEffect(() => list.need(first, end), [first, end, total]);
  useRowKeys();
  const rows = Array.from({ length: Math.max(0, end - first) }, (_, index) => first + index);
  const shownIds = rows.flatMap((index) => list.row(index)?.id ?? []);
  return (
    <div class="panel">
      <table class="table pipelines" aria-rowcount={total + 1}>
        <thead>
          <tr>
            {chosen && (
              <th class="cell-check">
                <input
                  type="checkbox"
                  aria-label="Select all rows in view"
                  checked={shownIds.length > 0 && shownIds.every((id) => chosen.has(id))}
                  onChange={(event) => choose(shownIds, event.currentTarget.checked)}
                />
              </th>
            )}
            <SortHead column="name" label="Pipeline" sort={props.sort} class="col-name" />
            <th class="col-strip">Last 25 runs</th>
            <SortHead column="last_run" label="Last run" sort={props.sort} descends class="col-last" />
            <th class="col-next">Next</th>
            <SortHead column="success_rate" label="Success" sort={props.sort} class="col-rate number" />
            <SortHead
              column="avg_duration"
              label="Average"
              sort={props.sort}
              descends
              class="col-average number"
            />
            <th class="col-owner">Owner and team</th>
            <th class="col-criticality">Criticality</th>
            <th class="col-watch">
              <span class="hidden-visually">Watched</span>
            </th>
          </tr>
        </thead>
        <tbody ref={body}>
          <Spacer rows={first} rowHeight={ROW_HEIGHT} />
          {rows.map((index) => (
            <Row key={list.row(index)?.id ?? index} {...props} index={index} pipeline={list.row(index)} />
          ))}
          <Spacer rows={total - end} rowHeight={ROW_HEIGHT} />
        </tbody>
      </table>
      {list.failure && !list.failure.isOutage && (
        <NotRead failure={list.failure} what="the pipelines" retry={list.refresh} />
      )}
    </div>
  );
}

interface SortHeadProps {
  column: string;
  label: string;
  sort: string;
  descends?: boolean;
  class: string;
}

function SortHead({ column, label, sort, descends = false, class: name }: SortHeadProps) {
  const direction = sortDirection(sort, column);
  return (
    <th class={name} aria-sort={direction ?? "none"}>
      <button
        type="button"
        class="sort-button"
        onClick={() => setQuery({ sort: nextSort(sort, column, descends) })}
      >
        {label}
        {direction && <Icon name={direction === "ascending" ? "up" : "down"} />}
      </button>
    </th>
  );
}

function Row(props: PipelineTableProps & { index: number; pipeline: Pipeline | undefined }) {
  const { slug, index, pipeline, chosen, choose } = props;
  if (!pipeline) {
    return (
      <tr class="pipeline-row" aria-rowindex={index + 2}>
        <td colSpan={10}>
          <span class="row-loading" />
        </td>
      </tr>
    );
  }
  const isChosen = chosen?.has(pipeline.id) ?? false;
  return (
    <tr class="pipeline-row" aria-rowindex={index + 2} data-chosen={isChosen || undefined}>
      {chosen && (
        <td class="cell-check">
          <input
            type="checkbox"
            aria-label={`Select ${pipeline.name}`}
            checked={isChosen}
            onChange={(event) => choose([pipeline.id], event.currentTarget.checked)}
          />
        </td>
      )}
      <NameCell slug={slug} pipeline={pipeline} />
      <td class="col-strip">
        <RunStrip slug={slug} name={pipeline.name} runs={pipeline.recent_runs ?? []} />
      </td>
      <LastRunCell slug={slug} pipeline={pipeline} />
      <td class="col-next">
        <NextRun pipeline={pipeline} />
      </td>
      <td class="col-rate number" title={rateTitle(pipeline)}>
        {percent(pipeline.metrics.success_rate)}
        {pipeline.metrics.failed_count > 0 && (
          <div class="quiet small">{count(pipeline.metrics.failed_count)} failed</div>
        )}
      </td>
      <td class="col-average number">{duration(pipeline.metrics.avg_duration_seconds)}</td>
      <td class="col-owner">
        <div class="clip">{pipeline.owners.join(", ") || <span class="quiet">No owner</span>}</div>
        <div class="clip quiet small">{pipeline.team?.name ?? "No team"}</div>
      </td>
      <td class="col-criticality">
        <Criticality value={pipeline.criticality ?? null} />
      </td>
      <WatchCell pipeline={pipeline} watch={props.watch} />
    </tr>
  );
}

function rateTitle({ metrics }: Pipeline): string {
  return `${count(metrics.success_count)} succeeded and ${count(metrics.failed_count)} failed in ${metrics.days} days`;
}

/** What the status does not say. */
function isLateOrSlow({ health }: Pipeline): boolean {
  return health === "late" || health === "slow";
}

function NameCell({ slug, pipeline }: { slug: string; pipeline: Pipeline }) {
  return (
    <td class="col-name">
      <div class="row">
        <StateShape status={pipeline.status} labelled />
        <div class="name-lines">
          <a class="clip name-link" data-row href={paths.pipeline(slug, pipeline.id)}>
            {pipeline.name}
          </a>
          <div class="row quiet small">
            {isLateOrSlow(pipeline) && <HealthTag health={pipeline.health} />}
            {!pipeline.is_active && <span class="tag">Removed</span>}
            {pipeline.is_paused && (
              <span class="tag">
                <Icon name="pause" />
                Paused
              </span>
            )}
            <span class="clip">{[pipeline.schedule ?? "No schedule", ...pipeline.tags].join(" · ")}</span>
          </div>
        </div>
      </div>
    </td>
  );
}

function LastRunCell({ slug, pipeline }: { slug: string; pipeline: Pipeline }) {
  const run = pipeline.last_run;
  if (!run) return <td class="col-last quiet">{labelOf("never_run")}</td>;
  return (
    <td class="col-last">
      <a href={paths.run(slug, run.id)}>
        <Time at={run.started_at} as="relative" none="Not started" />
      </a>
      <div class="quiet small">
        <Elapsed from={run.started_at} to={run.ended_at} seconds={run.duration_seconds} />
      </div>
    </td>
  );
}

function NextRun({ pipeline }: { pipeline: Pipeline }) {
  const now = useNow();
  if (pipeline.is_paused) return <span class="quiet">Paused</span>;
  const isDue = pipeline.next_run_at !== null && Date.parse(pipeline.next_run_at) < now;
  return (
    <>
      {isDue && <div class="quiet small">Was due</div>}
      <Time at={pipeline.next_run_at} as="relative" />
    </>
  );
}

function WatchCell({ pipeline, watch }: { pipeline: Pipeline; watch(pipeline: Pipeline): void }) {
  return (
    <td class="col-watch">
      <button
        type="button"
        class="watch-button"
        aria-pressed={pipeline.watched}
        title={pipeline.watched ? "Watched" : "Watch"}
        aria-label={`Watch ${pipeline.name}`}
        onClick={() => watch(pipeline)}
      >
        <Icon name="eye" />
      </button>
    </td>
  );
}
