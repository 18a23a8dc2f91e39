import { useEffect, useState } from "preact/hooks";
import { readList } from "../../api/lists";
import type { Run } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { Blank, Load } from "../../components/Load";
import { useLiveBatch } from "../../data/live";
import { useResource } from "../../data/resource";
import { RunTable } from "./RunTable";

const SIZE = 50;

/** The pipeline's runs, the newest first; older ones are read on from a cursor. */
export function RunsView({ slug, pipelineId }: { slug: string; pipelineId: string }) {
  const [cursors, setCursors] = useState<string[]>([]);
  const cursor = cursors.at(-1) ?? null;
  const path = `/spaces/${encodeURIComponent(slug)}/orchestration/pipelines/${pipelineId}/runs`;
  const runs = useResource(
    `runs ${slug} ${pipelineId} ${cursor ?? ""}`,
    (signal) => readList<Run>(path, { size: SIZE, cursor }, signal),
    { keepPrevious: true },
  );
  useLiveBatch(
    (event) => (event.type === "run" && event.data.pipeline_id === pipelineId ? event.data.id : null),
    runs.refresh,
  );
  useRowKeys();
  useEffect(() => setCursors([]), [pipelineId]);
  return (
    <section class="panel" aria-label="Runs">
      <Load resource={runs} what="the runs">
        {({ rows, nextCursor }) => (
          <>
            {rows.length === 0 ? (
              <Blank title="This pipeline has not run yet" />
            ) : (
              <div class="panel-scroll">
                <RunTable slug={slug} runs={rows} />
              </div>
            )}
            {(cursors.length > 0 || nextCursor !== null) && (
              <div class="twin-foot">
                <button
                  type="button"
                  class="button"
                  disabled={cursors.length === 0}
                  onClick={() => setCursors(cursors.slice(0, -1))}
                >
                  Newer
                </button>
                <button
                  type="button"
                  class="button"
                  disabled={nextCursor === null}
                  onClick={() => nextCursor !== null && setCursors([...cursors, nextCursor])}
                >
                  Older
                </button>
              </div>
            )}
          </>
        )}
      </Load>
    </section>
  );
}
