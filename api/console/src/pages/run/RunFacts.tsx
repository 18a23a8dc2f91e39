import type { PipelineDetail, RunDetail } from "../../api/model";
import { StateLabel } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { runTypeLabel } from "../../data/run_types";
import { ExpectedDuration } from "./ExpectedDuration";
import { UsualDuration } from "./UsualDuration";

/** How the run stands, when it ran, who started it, and whether it took as long as usual. */
export function RunFacts({ run, pipeline }: { run: RunDetail; pipeline: PipelineDetail | null }) {
  return (
    <div class="pipeline-facts">
      <div class="facts-line">
        <StateLabel status={run.status} providerStatus={run.provider_status} />
        {run.deleted_at !== null && <span class="tag">No longer at the provider</span>}
        <span>{runTypeLabel(run.run_type)}</span>
        {run.triggered_by && (
          <span>
            <span class="quiet">Triggered by </span>
            {run.triggered_by.name}
          </span>
        )}
        {run.started_at === null ? (
          <span>
            <span class="quiet">Queued </span>
            <Time at={run.queued_at} as="exact" none="not yet" />
          </span>
        ) : (
          <span>
            <span class="quiet">Started </span>
            <Time at={run.started_at} as="exact" />
          </span>
        )}
        {run.ended_at !== null && (
          <span>
            <span class="quiet">Ended </span>
            <Time at={run.ended_at} as="exact" />
          </span>
        )}
        {run.started_at !== null && (
          <span>
            <span class="quiet">{run.ended_at === null ? "Running for " : "Took "}</span>
            <Elapsed from={run.started_at} to={run.ended_at} seconds={run.duration_seconds} />
          </span>
        )}
        {run.logical_date !== null && (
          <span>
            <span class="quiet">Logical date </span>
            <Time at={run.logical_date} as="exact" />
          </span>
        )}
      </div>
      <code class="second run-id">{run.external_id}</code>
      {run.note && <p class="run-note">{run.note}</p>}
      {pipeline !== null && <UsualDuration run={run} metrics={pipeline.metrics} />}
      <ExpectedDuration run={run} />
    </div>
  );
}
