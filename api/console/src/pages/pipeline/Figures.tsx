import type { ComponentChildren } from "preact";
import type { PipelineDetail } from "../../api/model";
import { paths } from "../../app/paths";
import { Time } from "../../components/Time";
import { count, duration, percent } from "../../data/format";
import { periods } from "../runs/filters";

/** What the window of days says about the pipeline, as numbers that lead to the runs behind them. */
export function Figures({ slug, pipeline }: { slug: string; pipeline: PipelineDetail }) {
  const { metrics } = pipeline;
  const runs = (status?: string) => {
    const query = new URLSearchParams({ pipeline_id: pipeline.id });
    if (status !== undefined) query.set("status", status);
    const period = `${metrics.days}d`;
    if (periods.some(([value]) => value === period)) query.set("last", period);
    return paths.runs(slug, query.toString());
  };
  return (
    <dl class="figures" aria-label={`Numbers of ${metrics.days} days`}>
      <Figure label={`Success, ${metrics.days} days`}>{percent(metrics.success_rate)}</Figure>
      <Figure label="Runs">
        <a href={runs()}>{count(metrics.run_count)}</a>
      </Figure>
      <Figure label="Failed">
        <a href={runs("failed")}>{count(metrics.failed_count)}</a>
      </Figure>
      <Figure label="Usual duration">{duration(metrics.p50_duration_seconds)}</Figure>
      <Figure label="95 % end within">{duration(metrics.p95_duration_seconds)}</Figure>
      <Figure label="Last success">
        <Time at={metrics.last_success_at} as="relative" none="None" />
      </Figure>
      <Figure label="Last failure">
        <Time at={metrics.last_failure_at} as="relative" none="None" />
      </Figure>
    </dl>
  );
}

function Figure({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}
