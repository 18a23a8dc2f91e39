// The connectors of a space, and how their syncs go.
import { send } from "../../api/client";
import type { Connector, Sync } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { paths } from "../../app/paths";
import type { PageProps } from "../../app/routes";
import { Icon } from "../../components/Icon";
import { Blank, Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { StateLabel, StateShape } from "../../components/State";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { useNow } from "../../data/clock";
import { isOpen, isStale, latestSync, scheduleText, useConnectors } from "../../data/connectors";
import { count } from "../../data/format";
import { may } from "../../data/session";

export default function ConnectorsPage({ slug }: PageProps) {
  const connectors = useConnectors(slug, 1500);
  const mayEdit = may(slug, "editor");
  useRowKeys();
  const create = mayEdit && (
    <a class="button button-primary" href={paths.newConnector(slug)}>
      <Icon name="plus" />
      New connector
    </a>
  );
  return (
    <div class="page">
      <PageHead title="Connectors" actions={create}>
        <p class="second">The Airflows that this space mirrors.</p>
      </PageHead>
      <div class="panel">
        <Load resource={connectors} what="the connectors" lines={4}>
          {(all) =>
            all.length === 0 ? (
              <None slug={slug} mayEdit={mayEdit} />
            ) : (
              <Table slug={slug} connectors={all} mayEdit={mayEdit} changed={connectors.refresh} />
            )
          }
        </Load>
      </div>
    </div>
  );
}

function None({ slug, mayEdit }: { slug: string; mayEdit: boolean }) {
  return (
    <Blank title="This space has no connector yet">
      <p>A connector holds the address and the credentials of an Airflow. Its first sync fills the lists.</p>
      {mayEdit ? (
        <p>
          <a class="button button-primary" href={paths.newConnector(slug)}>
            Create the first connector
          </a>
        </p>
      ) : (
        <p>An editor of this space can create one.</p>
      )}
    </Blank>
  );
}

interface TableProps {
  slug: string;
  connectors: Connector[];
  mayEdit: boolean;
  changed(): void;
}

function Table({ slug, connectors, mayEdit, changed }: TableProps) {
  return (
    <table class="table connectors">
      <thead>
        <tr>
          <th class="col-name">Connector</th>
          <th class="col-sync">Latest sync</th>
          <th class="col-read">Last read</th>
          <th class="col-schedule">Schedule</th>
          <th class="col-pipelines number">Pipelines</th>
          {mayEdit && (
            <th class="col-action">
              <span class="hidden-visually">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {connectors.map((one) => (
          <Row key={one.id} slug={slug} connector={one} mayEdit={mayEdit} changed={changed} />
        ))}
      </tbody>
    </table>
  );
}

function Row({
  slug,
  connector,
  mayEdit,
  changed,
}: Omit<TableProps, "connectors"> & { connector: Connector }) {
  const now = useNow(30);
  const sync = latestSync(connector);
  const status = connector.failures > 0 ? "failed" : (sync?.status ?? "never_run");
  return (
    <tr>
      <td class="col-name">
        <div class="row">
          <span class="narrow-only">
            <StateShape status={connector.is_active ? status : "skipped"} labelled />
          </span>
          <div class="name-lines">
            <a class="name-link clip" data-row href={paths.connector(slug, connector.id)}>
              {connector.name}
            </a>
            <div class="quiet small clip">{connector.config.base_url ?? connector.connector_type}</div>
            {connector.last_error && <div class="small sync-error">{connector.last_error}</div>}
          </div>
        </div>
      </td>
      <td class="col-sync">
        {connector.is_active ? (
          <StateLabel status={status} />
        ) : (
          <span class="tag">
            <Icon name="pause" />
            Off
          </span>
        )}
        {isStale(connector, now) && <span class="tag">Behind</span>}
      </td>
      <td class="col-read">
        <Time at={connector.last_synced_at} as="relative" none="Never" />
      </td>
      <td class="col-schedule">{scheduleText(connector.config.schedule)}</td>
      <td class="col-pipelines number">{count(connector.pipeline_count)}</td>
      {mayEdit && (
        <td class="col-action">
          <SyncButton slug={slug} connector={connector} changed={changed} />
        </td>
      )}
    </tr>
  );
}

interface SyncButtonProps {
  slug: string;
  connector: Connector;
  changed(): void;
  primary?: boolean;
}

/** Requests a sync. While one is queued, another request would change nothing. */
export function SyncButton({ slug, connector, changed, primary = false }: SyncButtonProps) {
  const sync = latestSync(connector);
  const request = () => requestSync(slug, connector.id, {}).then(changed, toastFailure);
  return (
    <button
      type="button"
      class={primary ? "button button-primary" : "button"}
      onClick={request}
      disabled={!connector.is_active || sync?.status === "queued"}
      aria-label={`Sync ${connector.name} now`}
    >
      <Icon name="refresh" />
      {isOpen(sync) ? (sync?.status === "queued" ? "Queued" : "Sync again") : "Sync now"}
    </button>
  );
}

export async function requestSync(
  slug: string,
  id: string,
  options: { full?: boolean; accept_mass_deletion?: boolean },
): Promise<Sync> {
  const sync = await send<Sync>("POST", `/spaces/${slug}/orchestration/connectors/${id}/sync`, options);
  toast(options.full ? "A full sync is requested" : "A sync is requested");
  return sync;
}
