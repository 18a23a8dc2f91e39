import { readList } from "../../../api/lists";
import type { PipelineDetail, Run } from "../../../api/model";
import { Blank, Load } from "../../../components/Load";
import { useLiveBatch } from "../../../data/live";
import { useResource } from "../../../data/resource";
import { Legend } from "../../../drawings/Legend";
import { stateOf } from "../../../drawings/states";
import { Twin } from "../../../drawings/Twin";
import { RunTable } from "../RunTable";
import { DurationsDrawing } from "./DurationsDrawing";

const RUNS = 100;

/** How long the last runs took, with the median and the 95th percentile of those shown. */
export function DurationsView({ slug, pipeline }: { slug: string; pipeline: PipelineDetail }) {
  const path = `/spaces/${encodeURIComponent(slug)}/orchestration/pipelines/${pipeline.id}/runs`;
  const runs = useResource(`durations ${slug} ${pipeline.id}`, (signal) =>
    readList<Run>(path, { size: RUNS }, signal),
  );
  useLiveBatch(
    (event) => (event.type === "run" && event.data.pipeline_id === pipeline.id ? event.data.id : null),
    runs.refresh,
  );
  return (
    <Load resource={runs} what="the runs">
      {({ rows }) =>
        rows.length === 0 ? (
          <div class="panel">
            <Blank title="This pipeline has not run yet" />
          </div>
        ) : (
          <Twin
            title={`Durations of the last ${rows.length === 1 ? "run" : `${rows.length} runs`}`}
            drawing={() => <DurationsDrawing slug={slug} runs={rows} />}
            table={() => (
              <div class="panel-scroll">
                <RunTable slug={slug} runs={rows} />
              </div>
            )}
            foot={<Legend states={rows.map((run) => stateOf(run.status))} />}
          />
        )
      }
    </Load>
  );
}
