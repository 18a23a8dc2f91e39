import type { TaskRun } from "../../api/model";
import { Icon } from "../../components/Icon";
import { StateLabel } from "../../components/State";
import { Elapsed, Time } from "../../components/Time";
import { Comments } from "../../components/comments/Comments";
import { instanceName } from "./tasks/task_rows";

interface TaskDetailProps {
  slug: string;
  task: TaskRun;
  /** Tells how many comments there are now. */
  counted: (count: number) => void;
  close: () => void;
}

/** One task run with all that is known of it, and its comments. */
export function TaskDetail({ slug, task, counted, close }: TaskDetailProps) {
  return (
    <section class="panel" aria-label={`Task ${instanceName(task)}`}>
      <div class="panel-head">
        <h2 class="task-title">{instanceName(task)}</h2>
        <button
          type="button"
          class="button button-quiet button-icon push"
          aria-label="Close the task"
          onClick={close}
        >
          <Icon name="close" />
        </button>
      </div>
      <div class="panel-body">
        <dl class="facts small">
          <dt>State</dt>
          <dd>
            <StateLabel status={task.status} providerStatus={task.provider_status} />
          </dd>
          <dt>Duration</dt>
          <dd>
            <Elapsed from={task.started_at} to={task.ended_at} seconds={task.duration_seconds} />
          </dd>
          <dt>Tries</dt>
          <dd>
            {task.try_number} of {Math.max(task.try_number, task.max_tries + 1)}
          </dd>
          <dt>Queued</dt>
          <dd>
            <Time at={task.queued_at} as="exact" />
          </dd>
          <dt>Started</dt>
          <dd>
            <Time at={task.started_at} as="exact" />
          </dd>
          <dt>Ended</dt>
          <dd>
            <Time at={task.ended_at} as="exact" />
          </dd>
          <dt>Operator</dt>
          <dd class="task-word">{task.operator ?? "–"}</dd>
          <dt>Pool, queue</dt>
          <dd class="task-word">{[task.pool, task.queue].filter(Boolean).join(", ") || "–"}</dd>
          <dt>Host</dt>
          <dd class="task-word">{task.hostname || "–"}</dd>
        </dl>
      </div>
      <h3 class="side-heading">Comments on the task</h3>
      <Comments key={task.id} slug={slug} target={`task-runs/${task.id}`} counted={counted} />
    </section>
  );
}
