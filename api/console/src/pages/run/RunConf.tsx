import type { RunDetail } from "../../api/model";
import { Time } from "../../components/Time";

/** What the run was given, and the times that the header leaves out. */
export function RunConf({ run }: { run: RunDetail }) {
  const conf = run.conf ?? {};
  const empty = Object.keys(conf).length === 0;
  return (
    <section class="panel" aria-label="Configuration and times">
      <div class="panel-head">
        <h2>Configuration and times</h2>
      </div>
      <div class="panel-body stack">
        {empty ? (
          <p class="quiet">The run has no configuration.</p>
        ) : (
          <pre class="conf-text" tabIndex={0}>
            {JSON.stringify(conf, null, 2)}
          </pre>
        )}
        <dl class="facts small">
          <dt>Queued</dt>
          <dd>
            <Time at={run.queued_at} as="exact" />
          </dd>
          <dt>Data from</dt>
          <dd>
            <Time at={run.data_interval_start} as="exact" />
          </dd>
          <dt>Data until</dt>
          <dd>
            <Time at={run.data_interval_end} as="exact" />
          </dd>
          <dt>Last synced</dt>
          <dd>
            <Time at={run.last_synced_at} as="relative" />
          </dd>
        </dl>
      </div>
    </section>
  );
}
