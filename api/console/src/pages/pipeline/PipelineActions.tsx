import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { PipelineDetail } from "../../api/model";
import { Icon } from "../../components/Icon";
import { toastFailure } from "../../components/Toasts";
import { providerName } from "../../data/format";
import { may } from "../../data/session";
import { TriggerDialog } from "./trigger/TriggerDialog";

interface PipelineActionsProps {
  slug: string;
  pipeline: PipelineDetail;
  change: (update: (before: PipelineDetail) => PipelineDetail) => void;
}

export function PipelineActions({ slug, pipeline, change }: PipelineActionsProps) {
  const [triggering, setTriggering] = useState(false);
  const watch = async () => {
    const watched = !pipeline.watched;
    change((before) => ({ ...before, watched }));
    const path = `/spaces/${encodeURIComponent(slug)}/orchestration/pipelines/${pipeline.id}/watch`;
    try {
      await send(watched ? "PUT" : "DELETE", path);
    } catch (error) {
      change((before) => ({ ...before, watched: !watched }));
      toastFailure(error);
    }
  };
  return (
    <>
      <button type="button" class="button" aria-pressed={pipeline.watched} onClick={() => void watch()}>
        <Icon name={pipeline.watched ? "check" : "eye"} />
        {pipeline.watched ? "Watched" : "Watch"}
      </button>
      {pipeline.external_url && <ProviderLink href={pipeline.external_url} provider={pipeline.provider} />}
      {may(slug, "editor") && pipeline.is_active && (
        <button type="button" class="button button-primary" onClick={() => setTriggering(true)}>
          <Icon name="play" />
          Trigger
        </button>
      )}
      {triggering && <TriggerDialog slug={slug} pipeline={pipeline} close={() => setTriggering(false)} />}
    </>
  );
}

/** The same place at the provider, in a tab of its own. */
export function ProviderLink({ href, provider }: { href: string; provider: string }) {
  return (
    <a class="button" href={href} target="_blank" rel="noreferrer">
      <Icon name="external" />
      Open in {providerName(provider)}
    </a>
  );
}
