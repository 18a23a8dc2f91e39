import { useState } from "preact/hooks";
import { send } from "../../api/client";
import { type Failure, asFailure } from "../../api/failure";
import type { Team } from "../../api/model";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { TextField } from "../../components/TextField";

interface TeamDialogProps {
  slug: string;
  team: Team | null;
  close(): void;
  saved(): void;
}

export function TeamDialog({ slug, team, close, saved }: TeamDialogProps) {
  const [name, setName] = useState(team?.name ?? "");
  const [description, setDescription] = useState(team?.description ?? "");
  const [failure, setFailure] = useState<Failure | null>(null);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const path = `/spaces/${slug}/teams`;
    const body = { name: name.trim(), description: description.trim() || null };
    send(team ? "PATCH" : "POST", team ? `${path}/${team.id}` : path, body).then(
      () => {
        saved();
        close();
      },
      (error: unknown) => setFailure(asFailure(error)),
    );
  };
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
          <button class="button button-primary">{team ? "Save" : "Create"}</button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
