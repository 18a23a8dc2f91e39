import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Team } from "../../api/model";
import { paths } from "../../app/paths";
import { IconButton, RemoveButton } from "../../components/IconButton";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { toast, toastFailure } from "../../components/Toasts";
import { count } from "../../data/format";
import { may } from "../../data/session";
import { useTeams } from "../../data/teams";
import { TeamDialog } from "./TeamDialog";
import { TeamMembers } from "./TeamMembers";

export function Teams({ slug }: { slug: string }) {
  const teams = useTeams(slug);
  const isAdmin = may(slug, "admin");
  const dialog = (team: Team | null) => (close: () => void) => (
    <TeamDialog slug={slug} team={team} close={close} saved={teams.refresh} />
  );
  return (
    <ListPanel
      title="Teams"
      resource={teams}
      what="the teams"
      className="teams cards"
      add={isAdmin ? { label: "New team", dialog: dialog(null) } : null}
      empty={
        <Blank title="This space has no teams yet">
          <p>A team owns pipelines: lists can be filtered by it.</p>
        </Blank>
      }
      head={
        <>
          <th>Team</th>
          <th class="col-manager">Manager</th>
          <th class="col-count number">Members</th>
          <th class="col-pipes">Pipelines</th>
          {isAdmin && <ActionsHead className="col-edit" />}
        </>
      }
      row={(team) => <TeamRow key={team.id} slug={slug} team={team} changed={teams.refresh} />}
    />
  );
}

function TeamRow({ slug, team, changed }: { slug: string; team: Team; changed(): void }) {
  const [open, setOpen] = useState<"team" | "members" | null>(null);
  const close = () => setOpen(null);
  const remove = () =>
    void send("DELETE", `/spaces/${slug}/teams/${team.id}`).then(() => {
      toast(`${team.name} is deleted`);
      changed();
    }, toastFailure);
  return (
    <tr>
      <td>
        <b>{team.name}</b>
        {team.description && <div class="quiet small">{team.description}</div>}
        {open === "team" && <TeamDialog slug={slug} team={team} close={close} saved={changed} />}
        {open === "members" && <TeamMembers slug={slug} team={team} close={close} changed={changed} />}
      </td>
      <td class="col-manager" data-label="Manager">
        {team.manager?.full_name ?? <span class="quiet">–</span>}
      </td>
      <td class="col-count number" data-label="Members">
        <button
          type="button"
          class="link-button"
          aria-label={`Members of ${team.name}`}
          onClick={() => setOpen("members")}
        >
          {count(team.member_count ?? 0)}
        </button>
      </td>
      <td class="col-pipes" data-label="Pipelines">
        <a href={paths.pipelines(slug, `team_id=${team.id}`)}>Show</a>
      </td>
      {may(slug, "admin") && (
        <td class="col-edit cell-corner">
          <IconButton icon="edit" label={`Change ${team.name}`} onClick={() => setOpen("team")} />
          <RemoveButton action="Delete" name={team.name} remove={remove}>
            <p>Its pipelines will have no team. Its members stay members of the space.</p>
          </RemoveButton>
        </td>
      )}
    </tr>
  );
}
