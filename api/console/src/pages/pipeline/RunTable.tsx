import type { Run } from "../../api/model";
import { paths } from "../../app/paths";
import { StateLabel } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { runTypeLabel } from "../../data/run_types";

/** Runs of one pipeline as a table. */
export function RunTable({ slug, runs }: { slug: string; runs: readonly Run[] }) {
  return (
    <table class="table run-table">
      <thead>
        <tr>
          <th scope="col">Run</th>
          <th scope="col" class="col-run-state">
            State
          </th>
          <th scope="col" class="col-more">
            Type
          </th>
          <th scope="col" class="col-run-start">
            Started
          </th>
          <th scope="col" class="col-run-time number">
            Duration
          </th>
          <th scope="col" class="col-more">
            Triggered by
          </th>
          <th scope="col" class="col-more number">
            Comments
          </th>
        </tr>
      </thead>
      <tbody>
        {runs.map((run) => (
          <tr key={run.id}>
            <td>
              <a href={paths.run(slug, run.id)} data-row class="run-name" title={run.external_id}>
                <span class="code wide-only">{run.external_id}</span>
                <span class="narrow-only">{runTypeLabel(run.run_type)}</span>
              </a>
            </td>
            <td class="col-run-state">
              <StateLabel status={run.status} providerStatus={run.provider_status} />
            </td>
            <td class="col-more nowrap">{runTypeLabel(run.run_type)}</td>
            <td class="col-run-start">
              <Time at={run.started_at ?? run.queued_at} />
            </td>
            <td class="col-run-time number">
              <Elapsed from={run.started_at} to={run.ended_at} seconds={run.duration_seconds} />
            </td>
            <td class="col-more">{run.triggered_by?.name ?? <span class="quiet">–</span>}</td>
            <td class="col-more number">{run.comment_count || <span class="quiet">–</span>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
