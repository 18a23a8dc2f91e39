// The syncs of a connector, the newest first, each with its report.
import { useState } from "preact/hooks";
import { queryText, readList } from "../../api/lists";
import type { Sync } from "../../api/model";
import { GrowingRows } from "../../components/GrowingRows";
import { Icon } from "../../components/Icon";
import { Blank } from "../../components/Load";
import { StateLabel, StateShape } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { count } from "../../data/format";
import { useGrowingList } from "../../data/growing";
import { useLiveBatch } from "../../data/live";
import { ReportNumbers, triggerLabels } from "./SyncReport";

const PAGE = 20;

type Shown = "" | "changed" | "failed";

/** The API filters too; rows that arrive live are filtered here. */
function isShown(sync: Sync, shown: Shown): boolean {
  if (shown === "failed") return sync.status === "failed";
  return shown === "" || sync.status === "failed" || sync.report.events_published > 0;
}

export function SyncHistory({ slug, connectorId }: { slug: string; connectorId: string }) {
  const [shown, setShown] = useState<Shown>("");
  const path = `/spaces/${slug}/orchestration/connectors/${connectorId}/syncs`;
  const filter = shown === "changed" ? { changed: true } : shown === "failed" ? { status: "failed" } : {};
  const list = useGrowingList<Sync>(`${path}?${queryText(filter)}`, PAGE, ({ cursor, page }, signal) =>
    readList(path, { ...filter, size: PAGE, ...(cursor ? { cursor } : { page }) }, signal),
  );
  const rows = list.rows.filter((sync) => isShown(sync, shown));
  // Rows that were read on stay; a refresh would put the reader back to the first page.
  useLiveBatch(
    (event) => (event.type === "sync" && event.data.connector_id === connectorId ? event.data.id : null),
    () => list.rows.length <= PAGE && list.refresh(),
    1500,
  );
  return (
    <section class="panel" aria-label="Syncs">
      <div class="panel-head row-wrap">
        <h2>Syncs</h2>
        <div class="segmented push" role="group" aria-label="Which syncs">
          {(
            [
              ["", "All"],
              ["changed", "With changes"],
              ["failed", "Failed"],
            ] as [Shown, string][]
          ).map(([value, label]) => (
            <button key={value} type="button" aria-pressed={shown === value} onClick={() => setShown(value)}>
              {label}
            </button>
          ))}
        </div>
      </div>
      <GrowingRows
        list={list}
        what="the syncs"
        lines={4}
        hasRows={rows.length > 0}
        empty={<Blank title="No sync to show" />}
      >
        <table class="table syncs">
          <thead>
            <tr>
              <th class="col-status">Status</th>
              <th>Started</th>
              <th class="col-took number">Duration</th>
              <th class="col-type">Requested by</th>
              <th class="col-changes number">Changes</th>
              <th class="col-open">
                <span class="hidden-visually">Report</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((sync) => (
              <SyncRow key={sync.id} sync={sync} />
            ))}
          </tbody>
        </table>
      </GrowingRows>
    </section>
  );
}

function SyncRow({ sync }: { sync: Sync }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <tr>
        <td class="col-status">
          <StateLabel status={sync.status} />
        </td>
        <td>
          <span class="row">
            <span class="narrow-only">
              <StateShape status={sync.status} labelled />
            </span>
            <Time at={sync.started_at ?? sync.requested_at} as="second" />
          </span>
        </td>
        <td class="col-took number">
          <Elapsed from={sync.started_at ?? null} to={sync.finished_at ?? null} />
        </td>
        <td class="col-type">
          {sync.requested_by?.name ?? triggerLabels[sync.trigger] ?? sync.trigger}
          {sync.full && " · full"}
        </td>
        <td class="col-changes number">{count(sync.report.events_published)}</td>
        <td class="col-open">
          <button
            type="button"
            class="button button-quiet button-icon"
            aria-expanded={open}
            aria-label="Report of this sync"
            onClick={() => setOpen(!open)}
          >
            <Icon name={open ? "up" : "down"} />
          </button>
        </td>
      </tr>
      {open && (
        <tr class="sync-report">
          <td colSpan={6}>
            <div class="stack">
              <ReportNumbers sync={sync} />
            </div>
          </td>
        </tr>
      )}
    </>
  );
}
