// The rows of the list of runs.
import { useEffect, useRef } from "preact/hooks";
import type { Run } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { paths } from "../../app/paths";
import { Icon } from "../../components/Icon";
import { NotRead } from "../../components/Load";
import { Spacer } from "../../components/Spacer";
import { StateLabel, StateShape } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { counted } from "../../data/format";
import type { GrowingList } from "../../data/growing";
import { runTypeLabel } from "../../data/run_types";
import { useVirtualRows } from "../../data/virtual";
import { labelOf, stateOrder } from "../../drawings/states";

const ROW_HEIGHT = 46;

export function RunsTable({ slug, list }: { slug: string; list: GrowingList<Run> }) {
  const body = useRef<HTMLTableSectionElement>(null);
  const { rows } = list;
  const { first, end } = useVirtualRows(body, rows.length, ROW_HEIGHT);
  useEffect(() => {
    if (end >= rows.length) list.more();
  }, [end, rows.length, list.loading]);
  useRowKeys();
  return (
    <div class="panel">
      <table class="table runs" aria-rowcount={list.isBound ? -1 : (list.total ?? -1)}>
        <thead>
          <tr>
            <th class="col-pipeline">Pipeline</th>
            <th class="col-status">Status</th>
            <th class="col-type">Type</th>
            <th class="col-started">Started</th>
            <th class="col-duration number">Duration</th>
            <th class="col-tasks">Tasks</th>
            <th class="col-notes">
              <span class="hidden-visually">Comments</span>
            </th>
          </tr>
        </thead>
        <tbody ref={body}>
          <Spacer rows={first} rowHeight={ROW_HEIGHT} />
          {rows.slice(first, end).map((run) => (
            <Row key={run.id} slug={slug} run={run} />
          ))}
          <Spacer rows={rows.length - end} rowHeight={ROW_HEIGHT} />
        </tbody>
      </table>
      {list.failure && <NotRead failure={list.failure} what="the runs" retry={list.retry} />}
    </div>
  );
}

function Row({ slug, run }: { slug: string; run: Run }) {
  return (
    <tr class="run-row">
      <td class="col-pipeline">
        <div class="row">
          <span class="narrow-only">
            <StateShape status={run.status} labelled />
          </span>
          <div class="name-lines">
            <a class="name-link clip" data-row href={paths.run(slug, run.id)}>
              {run.pipeline_name}
            </a>
            <div class="quiet small clip wide-only">{run.external_id}</div>
            <div class="quiet small narrow-only">{runTypeLabel(run.run_type)}</div>
          </div>
        </div>
      </td>
      <td class="col-status">
        <StateLabel status={run.status} providerStatus={run.provider_status ?? null} />
      </td>
      <td class="col-type">
        <div>{runTypeLabel(run.run_type)}</div>
        {run.triggered_by && <div class="quiet small clip">by {run.triggered_by.name}</div>}
      </td>
      <td class="col-started">
        <Time at={run.started_at} none="Not started" />
      </td>
      <td class="col-duration number">
        <Elapsed from={run.started_at ?? null} to={run.ended_at ?? null} seconds={run.duration_seconds} />
      </td>
      <td class="col-tasks">
        <TaskCounts counts={run.task_counts} />
      </td>
      <td class="col-notes">
        {run.comment_count > 0 && (
          <a
            href={paths.run(slug, run.id)}
            class="row"
            aria-label={counted(run.comment_count, "comment", "comments")}
          >
            <Icon name="comment" />
            {run.comment_count}
          </a>
        )}
      </td>
    </tr>
  );
}

function TaskCounts({ counts }: { counts: Record<string, number> }) {
  const shown = stateOrder.filter((state) => (counts[state] ?? 0) > 0);
  if (shown.length === 0) return <span class="quiet">–</span>;
  return (
    <span class="row counts">
      {shown.slice(0, 4).map((state) => (
        <span key={state} class="row count" title={labelOf(state)}>
          <StateShape status={state} labelled />
          {counts[state]}
        </span>
      ))}
    </span>
  );
}
