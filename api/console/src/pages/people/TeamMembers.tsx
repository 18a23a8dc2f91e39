import { useState } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { Team, TeamMember } from "../../api/model";
import { CloseFoot, Dialog } from "../../components/Dialog";
import { IconButton } from "../../components/IconButton";
import { Load } from "../../components/Load";
import { toastFailure } from "../../components/Toasts";
import { useResource } from "../../data/resource";
import { may } from "../../data/session";
import { useMembers } from "./members";

interface TeamMembersProps {
  slug: string;
  team: Team;
  close(): void;
  changed(): void;
}

export function TeamMembers({ slug, team, close, changed }: TeamMembersProps) {
  const path = `/spaces/${slug}/teams/${team.id}/members`;
  const members = useResource(
    path,
    async (signal) => (await readList<TeamMember>(path, { size: 500 }, signal)).rows,
  );
  const everybody = useMembers(slug);
  const isAdmin = may(slug, "admin");
  const [chosen, setChosen] = useState("");
  const apply = (request: Promise<unknown>) =>
    request.then(() => {
      members.refresh();
      changed();
    }, toastFailure);
  const known = new Set((members.data ?? []).map((one) => one.user.id));
  const others = (everybody.data ?? []).filter((one) => !known.has(one.user.id));
  const add = (event: SubmitEvent) => {
    event.preventDefault();
    void apply(send("PUT", `${path}/${chosen}`, { role: "member" }));
    setChosen("");
  };
  return (
    <Dialog title={`Members of ${team.name}`} close={close}>
      <div class="dialog-body">
        <Load resource={members} what="the members" lines={3}>
          {(all) =>
            all.length === 0 ? (
              <p class="quiet">This team is empty.</p>
            ) : (
              <ul class="lines">
                {all.map(({ user, role }) => (
                  <li key={user.id} class="line">
                    <span class="line-text">{user.name}</span>
                    {role === "manager" && <span class="tag">Manager</span>}
                    {isAdmin && (
                      <span class="line-end">
                        <button
                          type="button"
                          class="link-button small"
                          onClick={() =>
                            apply(
                              send("PUT", `${path}/${user.id}`, {
                                role: role === "manager" ? "member" : "manager",
                              }),
                            )
                          }
                        >
                          {role === "manager" ? "Make member" : "Make manager"}
                        </button>
                        <IconButton
                          icon="trash"
                          label={`Remove ${user.name}`}
                          onClick={() => void apply(send("DELETE", `${path}/${user.id}`))}
                        />
                      </span>
                    )}
                  </li>
                ))}
              </ul>
            )
          }
        </Load>
        {isAdmin && (
          <form class="row" onSubmit={add}>
            <select
              class="select"
              aria-label="Member to add"
              value={chosen}
              required
              onChange={(event) => setChosen(event.currentTarget.value)}
            >
              <option value="">Choose a member of the space</option>
              {others.map(({ user }) => (
                <option key={user.id} value={user.id}>
                  {user.name}
                </option>
              ))}
            </select>
            <button class="button" disabled={chosen === ""}>
              Add
            </button>
          </form>
        )}
      </div>
      <CloseFoot close={close} />
    </Dialog>
  );
}
