import { useState } from "preact/hooks";
import { readList } from "../../api/lists";
import type { Pipeline } from "../../api/model";
import { Icon } from "../../components/Icon";
import { TextField } from "../../components/TextField";
import { useResource } from "../../data/resource";
import { useSettled } from "../../data/settled";

const SHOWN = 6;

interface PipelineFieldProps {
  slug: string;
  /** The id of the chosen pipeline, and its name. */
  chosen: string | null;
  name: string | null;
  choose(id: string | null): void;
}

/** The choice of one pipeline among thousands, by a search as one types. */
export function PipelineField({ slug, chosen, name, choose }: PipelineFieldProps) {
  const [text, setText] = useState("");
  const [found, setFound] = useState<string | null>(null);
  if (chosen !== null) {
    return (
      <div class="field">
        <span class="field-label">Pipeline</span>
        <div class="row">
          <b class="clip">{found ?? name}</b>
          <button type="button" class="button push" onClick={() => choose(null)}>
            <Icon name="close" />
            Any pipeline
          </button>
        </div>
      </div>
    );
  }
  return (
    <>
      <TextField
        label="Pipeline (optional)"
        type="search"
        value={text}
        change={setText}
        autoComplete="off"
        placeholder="Search by name"
      />
      <Found
        slug={slug}
        text={useSettled(text.trim())}
        choose={(pipeline) => {
          setFound(pipeline.name);
          choose(pipeline.id);
        }}
      />
    </>
  );
}

function Found({ slug, text, choose }: { slug: string; text: string; choose(pipeline: Pipeline): void }) {
  const path = `/spaces/${slug}/orchestration/pipelines`;
  const pipelines = useResource(
    text.length < 2 ? null : `${path} named ${text}`,
    async (signal) => (await readList<Pipeline>(path, { q: text, size: SHOWN }, signal)).rows,
    { keepPrevious: true },
  );
  if (text.length < 2) return null;
  if (pipelines.failure) return <p class="field-fault">{pipelines.failure.message}</p>;
  return (
    <div class="choices" role="group" aria-label="Pipelines that were found" aria-live="polite">
      {pipelines.data?.length === 0 && <p class="quiet">No pipeline was found.</p>}
      {(pipelines.data ?? []).map((pipeline) => (
        <button key={pipeline.id} type="button" class="menu-item" onClick={() => choose(pipeline)}>
          <span class="clip">{pipeline.name}</span>
        </button>
      ))}
    </div>
  );
}
