import type { PipelineDetail } from "../../api/model";
import { paths } from "../../app/paths";
import { HealthTag } from "../../components/Health";
import { StateLabel } from "../../components/State";
import { Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { duration } from "../../data/format";
import { Governance } from "./Governance";

interface PipelineFactsProps {
  slug: string;
  pipeline: PipelineDetail;
  change: (update: (before: PipelineDetail) => PipelineDetail) => void;
}

/** What the pipeline is, when it runs, and whose it is. */
export function PipelineFacts({ slug, pipeline, change }: PipelineFactsProps) {
  const now = useNow();
  return (
    <div class="pipeline-facts">
      <div class="facts-line">
        <StateLabel status={pipeline.status} />
        {pipeline.health !== "ok" && (
          <a href={paths.incidents(slug, `pipeline_id=${pipeline.id}`)}>
            <HealthTag health={pipeline.health} />
          </a>
        )}
        {!pipeline.is_active && <span class="tag">No longer at the provider</span>}
        {pipeline.is_paused && <span class="tag">Paused</span>}
        <span>
          <span class="quiet">Schedule </span>
          {pipeline.schedule ? <code>{pipeline.schedule}</code> : "none"}
        </span>
        {pipeline.next_run_at && !pipeline.is_paused && (
          <span>
            <span class="quiet">{Date.parse(pipeline.next_run_at) < now ? "Was due " : "Next run "}</span>
            <Time at={pipeline.next_run_at} as="relative" />
          </span>
        )}
        <span>
          <span class="quiet">Connector </span>
          <a href={paths.connector(slug, pipeline.connector_id)}>{pipeline.connector_name}</a>
        </span>
        <span>
          <span class="quiet">Synced </span>
          <Time at={pipeline.last_synced_at} as="relative" />
        </span>
      </div>
      <Expected pipeline={pipeline} />
      {pipeline.description && <p class="second">{pipeline.description}</p>}
      <div class="facts-line">
        <span>
          <span class="quiet">Owner </span>
          {pipeline.owners.join(", ") || "none"}
        </span>
        <Governance slug={slug} pipeline={pipeline} change={change} />
        {pipeline.tags.length > 0 && (
          <span class="row row-wrap">
            {pipeline.tags.map((tag) => (
              <span key={tag} class="tag">
                {tag}
              </span>
            ))}
          </span>
        )}
      </div>
    </div>
  );
}

/** What is expected of the next run, as it was learned from the last ones. */
function Expected({ pipeline: { expectation } }: { pipeline: PipelineDetail }) {
  const { learning, duration_p50_seconds: usual, slow_after_seconds: limit, next } = expectation;
  if (learning) {
    return <p class="quiet small">Too few runs are known yet to say when this pipeline is late or slow.</p>;
  }
  return (
    <div class="facts-line small">
      {usual !== null && (
        <span>
          <span class="quiet">Usually takes </span>
          {duration(usual)}
        </span>
      )}
      {limit !== null && (
        <span>
          <span class="quiet">Slow after </span>
          {duration(limit)}
        </span>
      )}
      {next?.finish_by && (
        <span>
          <span class="quiet">Expected to end by </span>
          <Time at={next.finish_by} />
        </span>
      )}
    </div>
  );
}
