import { useMemo } from "preact/hooks";
import { api, take } from "../../api/client";
import { readPipeline } from "../../api/pipeline";
import type { PipelineDetail, RunDetail, TaskRun } from "../../api/model";
import { paths } from "../../app/paths";
import { setQuery, useLocation } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { moment } from "../../data/format";
import { useResource } from "../../data/resource";
import { runTime } from "../../data/run_times";
import { Comments } from "../../components/comments/Comments";
import { RunActions } from "./RunActions";
import { RunFacts } from "./RunFacts";
import { RunConf } from "./RunConf";
import { TaskDetail } from "./TaskDetail";
import { TaskPanel } from "./tasks/TaskPanel";
import { useLiveRun } from "./live_run";
import "../pipeline/pipeline.css";
import "../pipeline/trigger/trigger.css";
import "./run.css";

export default function RunPage({ slug, id }: PageProps) {
  const run = useResource(`run ${slug} ${id}`, (signal) => readRun(slug, id, signal));
  const pipelineId = run.data?.pipeline_id ?? null;
  const pipeline = useResource(pipelineId === null ? null : `pipeline ${slug} ${pipelineId}`, (signal) =>
    readPipeline(slug, pipelineId ?? "", signal),
  );
  useLiveRun(id, run);
  return (
    <div class="page">
      <Load resource={run} what="the run" lines={12}>
        {(detail) => (
          <LoadedRun
            slug={slug}
            run={detail}
            pipeline={pipeline.data ?? null}
            refresh={run.refresh}
            change={run.change}
          />
        )}
      </Load>
    </div>
  );
}

interface LoadedRunProps {
  slug: string;
  run: RunDetail;
  pipeline: PipelineDetail | null;
  refresh: () => void;
  change: (update: (before: RunDetail) => RunDetail) => void;
}

function LoadedRun({ slug, run, pipeline, change }: LoadedRunProps) {
  const { query } = useLocation();
  const asked = query.get("task");
  const named = useMemo(
    () => (asked === null ? [] : run.tasks.filter((task) => isNamed(task, asked))),
    [asked, run.tasks],
  );
  const chosen = query.get("task_run") ?? (named.length === 1 ? named[0]?.id : null) ?? null;
  const task = chosen === null ? null : (run.tasks.find((one) => one.id === chosen) ?? null);
  const crumbs = [
    { label: "Pipelines", to: paths.pipelines(slug) },
    { label: run.pipeline_name, to: paths.pipeline(slug, run.pipeline_id) },
  ];
  const at = runTime(run);
  const commented = (taskRunId: string, count: number) =>
    change((before) => ({
      ...before,
      tasks: before.tasks.map((one) => (one.id === taskRunId ? { ...one, comment_count: count } : one)),
    }));
  return (
    <>
      <PageHead
        title={at === null ? run.pipeline_name : `${run.pipeline_name}, ${moment(at)}`}
        crumbs={crumbs}
        actions={<RunActions slug={slug} run={run} pipeline={pipeline} />}
      >
        <RunFacts run={run} pipeline={pipeline} />
      </PageHead>
      <div class="run-columns">
        <TaskPanel
          run={run}
          graph={pipeline?.tasks ?? []}
          text={named.length > 1 ? (asked ?? "") : ""}
          selected={task?.id ?? null}
          select={(taskRunId) =>
            setQuery({ task: null, task_run: taskRunId === task?.id ? null : taskRunId })
          }
        />
        <aside class="run-side" aria-label="Details and comments">
          {task !== null && (
            <TaskDetail
              slug={slug}
              task={task}
              counted={(count) => commented(task.id, count)}
              close={() => setQuery({ task: null, task_run: null })}
            />
          )}
          <section class="panel" aria-label="Comments on the run">
            <div class="panel-head">
              <h2>Comments on the run</h2>
            </div>
            <Comments slug={slug} target={`runs/${run.id}`} />
          </section>
          <RunConf run={run} />
        </aside>
      </div>
    </>
  );
}

/** A link of the grid names a task, or a group of tasks. */
function isNamed(task: TaskRun, name: string): boolean {
  return task.task_id === name || task.task_id.startsWith(`${name}.`);
}

function readRun(slug: string, run_id: string, signal: AbortSignal): Promise<RunDetail> {
  return take(
    api.GET("/api/v1.0/spaces/{slug}/orchestration/runs/{run_id}", {
      params: { path: { slug, run_id } },
      signal,
    }),
  );
}
