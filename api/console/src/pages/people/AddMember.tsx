import { useState } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { Person, Role } from "../../api/model";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { TextField } from "../../components/TextField";
import { useResource } from "../../data/resource";
import { useSettled } from "../../data/settled";
import { useSubmit } from "../../data/submit";
import { RoleField } from "./RoleField";

const SHOWN = 8;

export function AddMember({ slug, close, added }: { slug: string; close(): void; added(): void }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState<string | null>(null);
  const [role, setRole] = useState<Role>("viewer");
  const add = () => send("PUT", `/spaces/${slug}/members/${chosen}`, { role });
  const { busy, failure, submit } = useSubmit(add, () => {
    added();
    close();
  });
  return (
    <Dialog title="Add a member" close={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          <TextField
            label="Name or e-mail address"
            type="search"
            value={text}
            change={setText}
            autoComplete="off"
            fault={failure?.message}
            help="Part of a name or address finds people you share a space with; the whole address finds anyone with an account."
          />
          <People slug={slug} text={useSettled(text.trim())} chosen={chosen} choose={setChosen} />
          <RoleField role={role} change={setRole} />
        </div>
        <DialogFoot cancel={close}>
          <button class="button button-primary" disabled={busy || chosen === null}>
            Add
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

interface PeopleProps {
  slug: string;
  text: string;
  chosen: string | null;
  choose(id: string): void;
}

function People({ slug, text, chosen, choose }: PeopleProps) {
  const path = `/spaces/${slug}/people`;
  const people = useResource(
    text.length < 2 ? null : `${path} ${text}`,
    async (signal) => (await readList<Person>(path, { q: text, size: SHOWN }, signal)).rows,
    { keepPrevious: true },
  );
  if (text.length < 2) return null;
  if (people.failure) return <p class="field-fault">{people.failure.message}</p>;
  return (
    <fieldset class="choices" aria-live="polite">
      <legend class="hidden-visually">People who were found</legend>
      {people.data?.length === 0 && <p class="quiet">Nobody was found.</p>}
      {(people.data ?? []).map((person) => (
        <label key={person.id} class="check">
          <input
            type="radio"
            name="person"
            checked={chosen === person.id}
            disabled={person.role !== null}
            onChange={() => choose(person.id)}
          />
          <span>
            {person.name} <span class="quiet small">{person.email}</span>
            {person.role && <span class="quiet small"> · is a member already</span>}
          </span>
        </label>
      ))}
    </fieldset>
  );
}
