import type { Run } from "../../api/model";
import { paths } from "../../app/paths";
import { StateLabel } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { runTypeLabel } from "../../data/run_types";

/** Runs of one pipeline as a table. */
export function RunTable({ slug, runs }: { slug: string; runs: readonly Run[] }) {
  return (
    <table class="table">
      <thead>
        <tr>
          <th scope="col">Run</th>
          <th scope="col">State</th>
          <th scope="col">Type</th>
          <th scope="col">Started</th>
          <th scope="col" class="number">
            Duration
          </th>
          <th scope="col">Triggered by</th>
          <th scope="col" class="number">
            Comments
          </th>
        </tr>
      </thead>
      <tbody>
        {runs.map((run) => (
          <tr key={run.id}>
            <td>
              <a href={paths.run(slug, run.id)} data-row class="code run-name" title={run.external_id}>
                {run.external_id}
              </a>
            </td>
            <td>
              <StateLabel status={run.status} providerStatus={run.provider_status} />
            </td>
            <td class="nowrap">{runTypeLabel(run.run_type)}</td>
            <td>
              <Time at={run.started_at ?? run.queued_at} />
            </td>
            <td class="number">
              <Elapsed from={run.started_at} to={run.ended_at} seconds={run.duration_seconds} />
            </td>
            <td>{run.triggered_by?.name ?? <span class="quiet">–</span>}</td>
            <td class="number">{run.comment_count || <span class="quiet">–</span>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
