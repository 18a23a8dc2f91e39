// Changes of all chosen pipelines at once.
import { send } from "../../api/client";
import type { BulkAnswer, Criticality } from "../../api/model";
import { criticalities, criticalityLabels } from "../../components/Criticality";
import { Menu } from "../../components/Menu";
import { toast, toastFailure } from "../../components/Toasts";
import { counted } from "../../data/format";
import { useTeams } from "../../data/teams";

type Change = { team_id: string | null } | { criticality: Criticality | null };

interface BulkBarProps {
  slug: string;
  ids: string[];
  clear(): void;
  changed(): void;
}

export function BulkBar({ slug, ids, clear, changed }: BulkBarProps) {
  const teams = useTeams(slug);
  const apply = (change: Change, close: () => void) => {
    close();
    send<BulkAnswer>("POST", `/spaces/${slug}/orchestration/pipelines/bulk`, { ids, ...change })
      .then((answer) => {
        report(answer);
        changed();
        clear();
      })
      .catch(toastFailure);
  };
  return (
    <div class="bulk-bar" role="region" aria-label="Selected pipelines">
      <strong>{ids.length} selected</strong>
      <Menu label="Set team">
        {(close) => (
          <>
            {(teams.data ?? []).map((team) => (
              <button
                key={team.id}
                type="button"
                class="menu-item"
                onClick={() => apply({ team_id: team.id }, close)}
              >
                {team.name}
              </button>
            ))}
            <button type="button" class="menu-item quiet" onClick={() => apply({ team_id: null }, close)}>
              No team
            </button>
          </>
        )}
      </Menu>
      <Menu label="Set criticality">
        {(close) => (
          <>
            {criticalities.map((word) => (
              <button
                key={word}
                type="button"
                class="menu-item"
                onClick={() => apply({ criticality: word }, close)}
              >
                {criticalityLabels[word]}
              </button>
            ))}
            <button type="button" class="menu-item quiet" onClick={() => apply({ criticality: null }, close)}>
              Not set
            </button>
          </>
        )}
      </Menu>
      <button type="button" class="button button-quiet" onClick={clear}>
        Clear selection
      </button>
    </div>
  );
}

function report({ updated, failed }: BulkAnswer): void {
  if (updated.length > 0) toast(`${counted(updated.length, "pipeline", "pipelines")} changed`);
  const first = failed[0];
  if (first) toast(`${failed.length} not changed: ${first.detail}`, "danger");
}
