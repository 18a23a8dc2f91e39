import type { PipelineDetail, RunDetail } from "../../api/model";
import { useNow } from "../../data/clock";
import { duration } from "../../data/format";
import { runSeconds } from "../../drawings/strip";

const WIDTH = 220;

interface UsualDurationProps {
  run: RunDetail;
  metrics: PipelineDetail["metrics"];
}

/** The run's duration on the scale of the pipeline's usual ones: the sentence says all that the bar shows. */
export function UsualDuration({ run, metrics }: UsualDurationProps) {
  const now = useNow(run.status === "running" ? 2 : 0);
  const { p50_duration_seconds: p50, p95_duration_seconds: p95 } = metrics;
  const seconds = runSeconds(run, now);
  if (p50 === null || p95 === null || metrics.run_count < 3) return null;
  const top = Math.max(p95 * 1.25, (seconds ?? 0) * 1.05, 0.1);
  const x = (value: number) => Math.round((value / top) * WIDTH);
  const slow = seconds !== null && seconds > p95;
  return (
    <div class="usual">
      <svg width={WIDTH} height={16} aria-hidden="true">
        <path class="usual-track" d={`M0 8H${WIDTH}`} />
        <path class="usual-band" d={`M${x(p50)} 8H${Math.max(x(p50) + 2, x(p95))}`} />
        {seconds !== null && (
          <path class={slow ? "usual-run usual-slow" : "usual-run"} d={`M0 8H${Math.max(2, x(seconds))}`} />
        )}
        <path class="usual-mark" d={`M${x(p50)} 1v14`} />
      </svg>
      <span class="small">{sentence(seconds, p50, p95, run.status)}</span>
    </div>
  );
}

function sentence(seconds: number | null, p50: number, p95: number, status: string): string {
  const usual = `Usually ${duration(p50)}, 95 % end within ${duration(p95)}`;
  if (seconds === null) return `${usual}.`;
  if (seconds > p95)
    return `${usual}: ${status === "running" ? "this run is slower already" : "this run was slower"}.`;
  // A run that failed was not quick, but cut short.
  if (status !== "success") return `${usual}.`;
  return seconds < p50 * 0.5
    ? `${usual}: this run was quicker.`
    : `${usual}: this run took as long as usual.`;
}
