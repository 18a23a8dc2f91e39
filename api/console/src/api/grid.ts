// The grid of a pipeline: its tasks by its runs.
import { api, takeWithHeaders } from "./client";
import type { Grid } from "./model";

export interface GridPage {
  grid: Grid;
  /** Reads on at the runs before these. */
  olderCursor: string | null;
}

export async function readGrid(
  slug: string,
  pipelineId: string,
  runs: number,
  cursor: string | null,
  signal: AbortSignal,
): Promise<GridPage> {
  const params = {
    path: { slug, pipeline_id: pipelineId },
    query: { runs, ...(cursor === null ? {} : { cursor }) },
  };
  const { body, headers } = await takeWithHeaders(
    api.GET("/api/v1.0/spaces/{slug}/orchestration/pipelines/{pipeline_id}/grid", { params, signal }),
  );
  return { grid: body, olderCursor: headers.get("x-next-cursor") };
}
