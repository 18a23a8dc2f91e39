import { useMemo, useState } from "preact/hooks";
import { readGrid, type GridPage } from "../../api/grid";
import { readPipeline } from "../../api/pipeline";
import type { PipelineDetail } from "../../api/model";
import { paths } from "../../app/paths";
import { setQuery, useLocation } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { useLiveBatch } from "../../data/live";
import { useResource, type Resource } from "../../data/resource";
import { PipelineActions } from "./PipelineActions";
import { PipelineFacts } from "./PipelineFacts";
import { Figures } from "./Figures";
import { DurationsView } from "./durations/DurationsView";
import { GraphView } from "./graph/GraphView";
import { GridView } from "./grid/GridView";
import { RunsView } from "./RunsView";
import { Tabs } from "./Tabs";
import "./pipeline.css";

const views = [
  { key: "grid", label: "Grid" },
  { key: "graph", label: "Graph" },
  { key: "durations", label: "Durations" },
  { key: "runs", label: "Runs" },
];
const RUN_COUNTS = [25, 50, 100];

export default function PipelinePage({ slug, id }: PageProps) {
  const { query } = useLocation();
  const view = views.find(({ key }) => key === query.get("view"))?.key ?? "grid";
  const runs = RUN_COUNTS.find((count) => String(count) === query.get("runs")) ?? 25;
  const [cursors, setCursors] = useState<string[]>([]);
  const cursor = cursors.at(-1) ?? null;
  const pipeline = useResource(`pipeline ${slug} ${id}`, (signal) => readPipeline(slug, id, signal));
  const gridKey = view === "grid" ? `grid ${slug} ${id} ${runs} ${cursor ?? ""}` : null;
  const grid = useResource(gridKey, (signal) => readGrid(slug, id, runs, cursor, signal), {
    keepPrevious: true,
  });
  useFreshness(id, pipeline, grid);
  return (
    <div class="page">
      <Load resource={pipeline} what="the pipeline" lines={12}>
        {(detail) => (
          <>
            <PageHead
              title={detail.name}
              crumbs={[{ label: "Pipelines", to: paths.pipelines(slug) }]}
              actions={<PipelineActions slug={slug} pipeline={detail} change={pipeline.change} />}
            >
              <PipelineFacts slug={slug} pipeline={detail} change={pipeline.change} />
            </PageHead>
            <Figures slug={slug} pipeline={detail} />
            <Tabs
              label="Views of the pipeline"
              tabs={views}
              selected={view}
              select={(key) => setQuery({ view: key })}
            />
            <div role="tabpanel" aria-label={views.find(({ key }) => key === view)?.label}>
              {view === "grid" && (
                <GridView
                  slug={slug}
                  pipeline={detail}
                  grid={grid}
                  runs={runs}
                  choices={RUN_COUNTS}
                  newer={cursors.length === 0 ? null : () => setCursors(cursors.slice(0, -1))}
                  older={(next) => setCursors([...cursors, next])}
                  choose={(count) => {
                    setCursors([]);
                    setQuery({ runs: String(count) });
                  }}
                />
              )}
              {view === "graph" && <GraphView slug={slug} pipeline={detail} />}
              {view === "durations" && <DurationsView slug={slug} pipeline={detail} />}
              {view === "runs" && <RunsView slug={slug} pipelineId={id} />}
            </div>
          </>
        )}
      </Load>
    </div>
  );
}

/** A large grid is read again less often: fifty events a second must not keep the page busy. */
function useFreshness(id: string, pipeline: Resource<PipelineDetail>, grid: Resource<GridPage>): void {
  const cells = useMemo(() => grid.data?.grid.cells.length ?? 0, [grid.data]);
  useLiveBatch(
    (event) => (event.data.pipeline_id === id || event.data.id === id ? event.data.id : null),
    () => {
      pipeline.refresh();
      grid.refresh();
    },
    cells > 20_000 ? 5000 : 1000,
  );
}
