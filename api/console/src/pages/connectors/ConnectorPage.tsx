// One connector: how its syncs go, what may be done with it, and its settings.
import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Connector, Tested } from "../../api/model";
import { paths } from "../../app/paths";
import { navigate } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { CloseFoot, Confirm, Dialog } from "../../components/Dialog";
import { Icon } from "../../components/Icon";
import { Load } from "../../components/Load";
import { Menu } from "../../components/Menu";
import { PageHead } from "../../components/PageHead";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { useNow } from "../../data/clock";
import { latestSync, scheduleText } from "../../data/connectors";
import { count, counted } from "../../data/format";
import { useLiveBatch } from "../../data/live";
import { type Resource, useResource } from "../../data/resource";
import { may } from "../../data/session";
import { ConnectorForm } from "./ConnectorForm";
import { type AuthType, authLabels } from "./form";
import { SyncButton, requestSync } from "./ConnectorsPage";
import { SyncHistory } from "./SyncHistory";
import { LatestSync } from "./SyncReport";

export default function ConnectorPage({ slug, id }: PageProps) {
  const path = `/catalog/spaces/${slug}/connectors/${id}`;
  const connector = useResource(path, (signal) => send<Connector>("GET", path, undefined, signal), {
    everySeconds: 15,
  });
  useLiveBatch(
    (event) => (event.type === "sync" && event.data.connector_id === id ? event.data.id : null),
    connector.refresh,
  );
  const [editing, setEditing] = useState(false);
  const crumbs = [{ label: "Connectors", to: paths.connectors(slug) }];
  const shown = connector.data;
  return (
    <div class="page">
      <PageHead
        title={shown?.name ?? "Connector"}
        crumbs={crumbs}
        actions={
          shown &&
          may(slug, "editor") &&
          !editing && (
            <Actions
              slug={slug}
              path={path}
              resource={connector}
              connector={shown}
              edit={() => setEditing(true)}
            />
          )
        }
      >
        {shown?.config.base_url && (
          <p class="second">
            <a href={shown.config.base_url} target="_blank" rel="noreferrer">
              {shown.config.base_url} <Icon name="external" />
            </a>
          </p>
        )}
      </PageHead>
      <Load resource={connector} what="the connector">
        {(one) =>
          editing ? (
            <ConnectorForm
              connector={one}
              cancel={() => setEditing(false)}
              save={async (body) => {
                await send("PATCH", path, body);
                toast("Saved");
                setEditing(false);
                connector.refresh();
              }}
            />
          ) : (
            <>
              <Problems connector={one} />
              <div class="columns">
                <LatestSync slug={slug} sync={latestSync(one)} changed={connector.refresh} />
                <Facts connector={one} />
              </div>
              <SyncHistory slug={slug} connectorId={id} />
            </>
          )
        }
      </Load>
    </div>
  );
}

function Problems({ connector }: { connector: Connector }) {
  if (!connector.is_active) {
    return (
      <p class="notice notice-info">
        <Icon name="pause" />
        This connector is switched off: nothing is read from it, and no run can be triggered.
      </p>
    );
  }
  if (!connector.last_error) return null;
  return (
    <div class="notice notice-danger" role="status">
      <Icon name="alert" />
      <div>
        <strong>
          {connector.failures > 1
            ? `The last ${connector.failures} syncs have failed.`
            : "The last sync has failed."}
        </strong>{" "}
        {connector.last_error}
        {connector.retry_at && (
          <>
            {" "}
            The schedule tries again <Time at={connector.retry_at} as="relative" />.
          </>
        )}
      </div>
    </div>
  );
}

function Facts({ connector }: { connector: Connector }) {
  const { config, credentials, next_due_at } = connector;
  const now = useNow(10);
  const kind = authLabels[(credentials.auth_type ?? "none") as AuthType] ?? credentials.auth_type;
  const name = credentials.username ?? credentials.client_id ?? credentials.key?.client_email;
  return (
    <section class="panel" aria-label="Settings">
      <div class="panel-head">
        <h2>Settings</h2>
      </div>
      <dl class="facts panel-body">
        <dt>Pipelines</dt>
        <dd>{count(connector.pipeline_count)}</dd>
        <dt>Last read</dt>
        <dd>
          <Time at={connector.last_synced_at} as="relative" none="Never" />
        </dd>
        <dt>Schedule</dt>
        <dd>{scheduleText(config.schedule)}</dd>
        <dt>{next_due_at && Date.parse(next_due_at) < now ? "Was due" : "Next sync"}</dt>
        <dd>
          <Time at={next_due_at} as="relative" none="Not scheduled" />
        </dd>
        <dt>Credentials</dt>
        <dd>
          {name ? `${kind} (${name})` : kind}
          {credentials.client_certificate && ", with a client certificate"}
        </dd>
        <dt>Certificate</dt>
        <dd>{config.verify_tls === false ? "Not verified" : "Verified"}</dd>
        <dt>History</dt>
        <dd>{counted(config.history_days ?? 30, "day", "days")}</dd>
        <dt>Created</dt>
        <dd>
          <Time at={connector.created_at} />
        </dd>
      </dl>
    </section>
  );
}

interface ActionsProps {
  slug: string;
  path: string;
  resource: Resource<Connector>;
  connector: Connector;
  edit(): void;
}

type Asked = "full" | "delete" | null;

function Actions({ slug, path, resource, connector, edit }: ActionsProps) {
  const [tested, setTested] = useState<Tested | "running" | null>(null);
  const [asked, setAsked] = useState<Asked>(null);
  const test = () => {
    setTested("running");
    send<Tested>("POST", `${path}/test`).then(setTested, (error: unknown) => {
      setTested(null);
      toastFailure(error);
    });
  };
  const switchOn = (is_active: boolean) =>
    send("PATCH", path, { is_active }).then(resource.refresh, toastFailure);
  return (
    <>
      <SyncButton slug={slug} connector={connector} changed={resource.refresh} primary />
      <button type="button" class="button" disabled={tested === "running"} onClick={test}>
        {tested === "running" ? "Testing…" : "Test"}
      </button>
      <button type="button" class="button" onClick={edit}>
        <Icon name="edit" />
        Change
      </button>
      <Menu label="More" align="end">
        {(close) => (
          <>
            <Item
              label="Full sync…"
              run={() => {
                close();
                setAsked("full");
              }}
            />
            <Item
              label={connector.is_active ? "Switch off" : "Switch on"}
              run={() => {
                close();
                void switchOn(!connector.is_active);
              }}
            />
            {may(slug, "admin") && (
              <Item
                label="Delete…"
                run={() => {
                  close();
                  setAsked("delete");
                }}
              />
            )}
          </>
        )}
      </Menu>
      {tested && tested !== "running" && <TestResult tested={tested} close={() => setTested(null)} />}
      {asked === "full" && (
        <FullSync slug={slug} connector={connector} close={() => setAsked(null)} done={resource.refresh} />
      )}
      {asked === "delete" && (
        <Delete slug={slug} path={path} connector={connector} close={() => setAsked(null)} />
      )}
    </>
  );
}

function Item({ label, run }: { label: string; run(): void }) {
  return (
    <button type="button" class="menu-item" onClick={run}>
      {label}
    </button>
  );
}

function TestResult({ tested, close }: { tested: Tested; close(): void }) {
  return (
    <Dialog title={tested.success ? "The test has succeeded" : "The test has failed"} close={close}>
      <div class="dialog-body">
        <p class={tested.success ? "notice notice-info" : "notice notice-danger"}>
          <Icon name={tested.success ? "check" : "alert"} />
          {tested.message}
        </p>
        <dl class="facts">
          {tested.provider_version && (
            <>
              <dt>Airflow</dt>
              <dd>{tested.provider_version}</dd>
            </>
          )}
          {tested.latency_ms !== null && (
            <>
              <dt>Duration</dt>
              <dd>{count(tested.latency_ms)} ms</dd>
            </>
          )}
        </dl>
      </div>
      <CloseFoot close={close} />
    </Dialog>
  );
}

interface AskProps {
  slug: string;
  connector: Connector;
  close(): void;
}

function FullSync({ slug, connector, close, done }: AskProps & { done(): void }) {
  const [accept, setAccept] = useState(false);
  const confirm = () => {
    close();
    requestSync(slug, connector.id, { full: true, accept_mass_deletion: accept }).then(done, toastFailure);
  };
  return (
    <Confirm
      title={`Read all of ${connector.name} again?`}
      action="Request a full sync"
      close={close}
      confirm={confirm}
    >
      <p>
        A full sync reads every pipeline and the whole history. It takes longer than a scheduled one and asks
        more of Airflow.
      </p>
      <label class="check">
        <input
          type="checkbox"
          checked={accept}
          onChange={(event) => setAccept(event.currentTarget.checked)}
        />
        Accept that many pipelines may have been removed
      </label>
    </Confirm>
  );
}

function Delete({ slug, path, connector, close }: AskProps & { path: string }) {
  const confirm = () => {
    close();
    send("DELETE", path).then(() => {
      toast(`${connector.name} is deleted`);
      navigate(paths.connectors(slug));
    }, toastFailure);
  };
  return (
    <Confirm title={`Delete ${connector.name}?`} action="Delete" danger close={close} confirm={confirm}>
      <p>
        Its address and credentials are deleted, and its pipelines are no longer active. This cannot be
        undone.
      </p>
    </Confirm>
  );
}
