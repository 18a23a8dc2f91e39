import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Team } from "../../api/model";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { TextField } from "../../components/TextField";
import { useSubmit } from "../../data/submit";

interface TeamDialogProps {
  slug: string;
  team: Team | null;
  close(): void;
  saved(): void;
}

export function TeamDialog({ slug, team, close, saved }: TeamDialogProps) {
  const [name, setName] = useState(team?.name ?? "");
  const [description, setDescription] = useState(team?.description ?? "");
  const save = () => {
    const path = `/spaces/${slug}/teams`;
    const body = { name: name.trim(), description: description.trim() || null };
    return send(team ? "PATCH" : "POST", team ? `${path}/${team.id}` : path, body);
  };
  const { busy, failure, submit } = useSubmit(save, () => {
    saved();
    close();
  });
  return (
    <Dialog title={team ? `Change ${team.name}` : "New team"} close={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          <TextField
            label="Name"
            value={name}
            change={setName}
            required
            maxLength={200}
            fault={failure?.message}
          />
          <TextField
            label="Description (optional)"
            value={description}
            change={setDescription}
            maxLength={1000}
          />
        </div>
        <DialogFoot cancel={close}>
          <button class="button button-primary" disabled={busy}>
            {team ? "Save" : "Create"}
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
