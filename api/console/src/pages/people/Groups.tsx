// The groups of the company's accounts that have a role in the space.
import { useState } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { GroupMapping, Role } from "../../api/model";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { RemoveButton } from "../../components/IconButton";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { TextField } from "../../components/TextField";
import { toast, toastFailure } from "../../components/Toasts";
import { useResource } from "../../data/resource";
import { useSubmit } from "../../data/submit";
import { RoleField } from "./RoleField";
import { RoleSelect } from "./RoleSelect";
import { roleName } from "./members";

export function Groups({ slug, changed }: { slug: string; changed(): void }) {
  const path = `/spaces/${slug}/group-mappings`;
  const groups = useResource(
    path,
    async (signal) => (await readList<GroupMapping>(path, { size: 500 }, signal)).rows,
  );
  const apply = (request: Promise<unknown>, text: string) =>
    void request
      .then(() => {
        toast(text);
        changed();
      }, toastFailure)
      .then(groups.refresh);
  return (
    <ListPanel
      title="Groups"
      resource={groups}
      what="the groups"
      lines={2}
      className="members cards"
      add={{
        label: "Add a group",
        dialog: (close) => (
          <AddGroup
            path={path}
            close={close}
            added={() => {
              groups.refresh();
              changed();
            }}
          />
        ),
      }}
      empty={
        <Blank title="No group has a role in this space">
          <p>
            Give a group from your company's accounts a role: its members join this space when they sign in.
          </p>
        </Blank>
      }
      head={
        <>
          <th>Group</th>
          <th class="col-role">Role</th>
          <ActionsHead className="col-open" />
        </>
      }
      row={(one) => (
        <tr key={one.id}>
          <td>
            <b class="clip">{one.group}</b>
          </td>
          <td class="col-role" data-label="Role">
            <RoleSelect
              of={one.group}
              role={one.role}
              change={(role) =>
                apply(
                  send("PATCH", `${path}/${one.id}`, { role }),
                  `The role of ${one.group} is ${roleName(role)} now`,
                )
              }
            />
          </td>
          <td class="col-open cell-corner">
            <RemoveButton
              action="Remove"
              name={one.group}
              remove={() =>
                apply(send("DELETE", `${path}/${one.id}`), `${one.group} has no role in this space any more`)
              }
            >
              <p>Who is a member of this space by this group alone leaves it within seconds.</p>
            </RemoveButton>
          </td>
        </tr>
      )}
    />
  );
}

function AddGroup({ path, close, added }: { path: string; close(): void; added(): void }) {
  const [group, setGroup] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const add = () => send("POST", path, { group: group.trim(), role });
  const { busy, failure, submit } = useSubmit(add, () => {
    added();
    close();
  });
  return (
    <Dialog title="Add a group" close={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          <TextField
            label="Group"
            value={group}
            change={setGroup}
            required
            maxLength={500}
            fault={failure?.message}
            help="As the provider of the accounts sends it: a name, a path or an id."
          />
          <RoleField role={role} change={setRole} />
        </div>
        <DialogFoot cancel={close}>
          <button class="button button-primary" disabled={busy}>
            Add
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
