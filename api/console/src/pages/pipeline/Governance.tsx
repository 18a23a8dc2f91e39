import { send } from "../../api/client";
import type { Criticality, PipelineDetail } from "../../api/model";
import {
  Criticality as CriticalityMark,
  criticalities,
  criticalityLabels,
} from "../../components/Criticality";
import { toast, toastFailure } from "../../components/Toasts";
import { may } from "../../data/session";
import { useTeams } from "../../data/teams";

interface GovernanceProps {
  slug: string;
  pipeline: PipelineDetail;
  change: (update: (before: PipelineDetail) => PipelineDetail) => void;
}

/** Team and criticality: editors choose them, everybody else reads them. */
export function Governance({ slug, pipeline, change }: GovernanceProps) {
  const editor = may(slug, "editor");
  const base = `/spaces/${encodeURIComponent(slug)}`;
  const teams = useTeams(slug, editor);
  const write = async (what: "team" | "criticality", body: object, done: string) => {
    try {
      const path = `${base}/orchestration/pipelines/${pipeline.id}/${what}`;
      const { team, criticality } = await send<PipelineDetail>("PATCH", path, body);
      change((before) => ({ ...before, team, criticality }));
      toast(done);
    } catch (error) {
      toastFailure(error);
    }
  };
  if (!editor) {
    return (
      <>
        <span>
          <span class="quiet">Team </span>
          {pipeline.team?.name ?? "none"}
        </span>
        <span class="row">
          <span class="quiet">Criticality </span>
          <CriticalityMark value={pipeline.criticality} />
        </span>
      </>
    );
  }
  return (
    <>
      <label class="inline-field">
        <span class="quiet">Team</span>
        <select
          class="select"
          value={pipeline.team?.id ?? ""}
          onChange={({ currentTarget: { value } }) =>
            void write("team", { team_id: value || null }, "Team changed")
          }
        >
          <option value="">None</option>
          {teamChoices(teams.data ?? [], pipeline).map((team) => (
            <option key={team.id} value={team.id}>
              {team.name}
            </option>
          ))}
        </select>
      </label>
      <label class="inline-field">
        <span class="quiet">Criticality</span>
        <select
          class="select"
          value={pipeline.criticality ?? ""}
          onChange={({ currentTarget: { value } }) =>
            void write(
              "criticality",
              { criticality: (value || null) as Criticality | null },
              "Criticality changed",
            )
          }
        >
          <option value="">None</option>
          {criticalities.map((value) => (
            <option key={value} value={value}>
              {criticalityLabels[value]}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}

/** The present team is a choice also before the teams have been read. */
function teamChoices(teams: readonly { id: string; name: string }[], pipeline: PipelineDetail) {
  const own = pipeline.team;
  return own === null || teams.some((team) => team.id === own.id) ? teams : [own, ...teams];
}
