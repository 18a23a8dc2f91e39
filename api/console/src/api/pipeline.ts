import { api, take } from "./client";
import type { PipelineDetail } from "./model";

export function readPipeline(slug: string, id: string, signal: AbortSignal): Promise<PipelineDetail> {
  const path = { slug, pipeline_id: id };
  return take(
    api.GET("/api/v1.0/spaces/{slug}/orchestration/pipelines/{pipeline_id}", { params: { path }, signal }),
  );
}
