// What a sync has done, or is doing.
import { send } from "../../api/client";
import type { Sync } from "../../api/model";
import { Icon } from "../../components/Icon";
import { StateLabel } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { isOpen } from "../../data/connectors";
import { count, counted } from "../../data/format";
import { may } from "../../data/session";

export const triggerLabels: Record<string, string> = {
  schedule: "Schedule",
  manual: "Manual",
  trigger: "After a trigger",
};

interface LatestSyncProps {
  slug: string;
  sync: Sync | null;
  changed(): void;
}

export function LatestSync({ slug, sync, changed }: LatestSyncProps) {
  return (
    <section class="panel" aria-label="Latest sync" aria-live="polite">
      <div class="panel-head">
        <h2>Latest sync</h2>
        {sync && isOpen(sync) && may(slug, "editor") && (
          <CancelButton slug={slug} sync={sync} changed={changed} />
        )}
      </div>
      {sync ? (
        <div class="panel-body stack">
          <dl class="facts">
            <dt>Status</dt>
            <dd>
              <StateLabel status={sync.status} />
            </dd>
            <dt>Requested by</dt>
            <dd>
              {sync.requested_by?.name ?? triggerLabels[sync.trigger] ?? sync.trigger}
              {sync.full && " · full"}
            </dd>
            <dt>Started</dt>
            <dd>
              <Time at={sync.started_at} as="exact" none="Not yet" />
            </dd>
            <dt>Duration</dt>
            <dd>
              <Elapsed from={sync.started_at ?? null} to={sync.finished_at ?? null} />
            </dd>
          </dl>
          <ReportNumbers sync={sync} />
        </div>
      ) : (
        <p class="panel-body quiet">No sync yet.</p>
      )}
    </section>
  );
}

export function CancelButton({ slug, sync, changed }: { slug: string; sync: Sync; changed(): void }) {
  const path = `/spaces/${slug}/orchestration/connectors/${sync.connector_id}/syncs/${sync.id}`;
  const cancel = () =>
    send("DELETE", path).then(() => {
      toast("The sync is cancelled");
      changed();
    }, toastFailure);
  return (
    <button type="button" class="button push" onClick={cancel}>
      <Icon name="close" />
      Cancel
    </button>
  );
}

export function ReportNumbers({ sync }: { sync: Sync }) {
  const { report } = sync;
  const numbers: [string, number][] = [
    ["Requests", report.requests],
    ["Pipelines seen", report.pipelines_seen],
    ["Runs seen", report.runs_seen],
    ["Task runs seen", report.task_runs_seen],
    ["Events published", report.events_published],
    ["Pipelines removed", report.pipelines_deactivated],
  ];
  return (
    <>
      {sync.error && (
        <p class="notice notice-danger">
          <Icon name="alert" />
          {sync.error}
        </p>
      )}
      <ul class="numbers">
        {numbers.map(([label, value]) => (
          <li key={label}>
            <span class="quiet small">{label}</span>
            <b>{count(value)}</b>
          </li>
        ))}
      </ul>
      {report.unreadable_count > 0 && (
        <div class="notice">
          <Icon name="alert" />
          <div>
            {counted(report.unreadable_count, "row of Airflow", "rows of Airflow")} could not be read:
            <ul>
              {report.unreadable.slice(0, 5).map((row) => (
                <li key={row.id}>
                  <code>{row.id}</code>: {row.reason}
                </li>
              ))}
            </ul>
          </div>
        </div>
      )}
    </>
  );
}
