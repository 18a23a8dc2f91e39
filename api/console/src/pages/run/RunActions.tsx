import { useEffect, useState } from "preact/hooks";
import { readList } from "../../api/lists";
import type { PipelineDetail, Run, RunDetail } from "../../api/model";
import { isTyping } from "../../app/keyboard";
import { paths } from "../../app/paths";
import { navigate } from "../../app/router";
import { Icon, type IconName } from "../../components/Icon";
import { useResource } from "../../data/resource";
import { may } from "../../data/session";
import { ProviderLink } from "../pipeline/PipelineActions";
import { TriggerDialog } from "../pipeline/trigger/TriggerDialog";

interface RunActionsProps {
  slug: string;
  run: RunDetail;
  pipeline: PipelineDetail | null;
}

export function RunActions({ slug, run, pipeline }: RunActionsProps) {
  const [triggering, setTriggering] = useState(false);
  return (
    <>
      <Neighbours slug={slug} run={run} />
      {run.external_url && (
        <ProviderLink href={run.external_url} provider={pipeline?.provider ?? "the provider"} />
      )}
      {may(slug, "editor") && pipeline?.is_active && (
        <button type="button" class="button button-primary" onClick={() => setTriggering(true)}>
          <Icon name="play" />
          Trigger again
        </button>
      )}
      {triggering && pipeline !== null && (
        <TriggerDialog
          slug={slug}
          pipeline={pipeline}
          conf={run.conf ?? {}}
          close={() => setTriggering(false)}
        />
      )}
    </>
  );
}

/** The runs before and after this one: with the keys `[` and `]`, too. */
function Neighbours({ slug, run }: { slug: string; run: RunDetail }) {
  const at = run.started_at ?? run.queued_at;
  const path = `/spaces/${encodeURIComponent(slug)}/orchestration/pipelines/${run.pipeline_id}/runs`;
  const read = async (query: Record<string, string>, signal: AbortSignal) => {
    const { rows } = await readList<Run>(path, { ...query, size: 3 }, signal);
    return rows.find((row) => row.id !== run.id)?.id ?? null;
  };
  const older = useResource(at === null ? null : `older ${run.id}`, (signal) =>
    read({ started_to: at ?? "" }, signal),
  );
  const newer = useResource(at === null ? null : `newer ${run.id}`, (signal) =>
    read({ started_from: at ?? "", sort: "started_at" }, signal),
  );
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
      const id = event.key === "[" ? older.data : event.key === "]" ? newer.data : null;
      if (id) navigate(paths.run(slug, id));
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [slug, older.data, newer.data]);
  return (
    <div class="row">
      <NeighbourButton slug={slug} id={older.data ?? null} label="Older run" shortcut="[" icon="left" />
      <NeighbourButton slug={slug} id={newer.data ?? null} label="Newer run" shortcut="]" icon="right" />
    </div>
  );
}

interface NeighbourButtonProps {
  slug: string;
  id: string | null;
  label: string;
  shortcut: string;
  icon: IconName;
}

function NeighbourButton({ slug, id, label, shortcut, icon }: NeighbourButtonProps) {
  return (
    <button
      type="button"
      class="button button-icon"
      disabled={id === null}
      aria-label={label}
      aria-keyshortcuts={shortcut}
      title={`${label} (${shortcut})`}
      onClick={() => id !== null && navigate(paths.run(slug, id))}
    >
      <Icon name={icon} />
    </button>
  );
}
