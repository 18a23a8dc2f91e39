import { useState } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { ApiKey } from "../../api/model";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { RemoveButton } from "../../components/IconButton";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { ShownOnce } from "../../components/ShownOnce";
import { TextField } from "../../components/TextField";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { useResource } from "../../data/resource";
import { useSubmit } from "../../data/submit";

export function Keys() {
  const keys = useResource(
    "/api-keys",
    async (signal) => (await readList<ApiKey>("/api-keys", { size: 500 }, signal)).rows,
  );
  const revoke = (key: ApiKey) =>
    send("DELETE", `/api-keys/${key.id}`).then(() => {
      toast(`The key ${key.label} is revoked`);
      keys.refresh();
    }, toastFailure);
  return (
    <ListPanel
      title="API keys"
      resource={keys}
      what="your keys"
      className="keys cards"
      add={{ label: "New key", dialog: (close) => <NewKey close={close} created={keys.refresh} /> }}
      empty={
        <Blank title="You have no keys">
          <p>A key is for scripts and for other programs.</p>
        </Blank>
      }
      head={
        <>
          <th>Key</th>
          <th class="col-right">Right</th>
          <th class="col-used">Last used</th>
          <th class="col-until">Expires</th>
          <ActionsHead className="col-open" />
        </>
      }
      row={(key) => <KeyRow key={key.id} apiKey={key} revoke={() => void revoke(key)} />}
    />
  );
}

function KeyRow({ apiKey, revoke }: { apiKey: ApiKey; revoke(): void }) {
  return (
    <tr>
      <td>
        <b>{apiKey.label}</b>
        <div class="quiet small">
          <code>{apiKey.prefix}…</code>
        </div>
      </td>
      <td class="col-right" data-label="Right">
        {apiKey.read_only ? "Read-only" : "Same as your role"}
      </td>
      <td class="col-used" data-label="Last used">
        <Time at={apiKey.last_used_at} as="relative" none="Never" />
      </td>
      <td class="col-until" data-label="Expires">
        <Time at={apiKey.expires_at} none="Never" />
      </td>
      <td class="col-open cell-corner">
        <RemoveButton action="Revoke" name={apiKey.label} remove={revoke}>
          <p>Programs with this key are refused within seconds, and sessions that were opened with it end.</p>
        </RemoveButton>
      </td>
    </tr>
  );
}

function NewKey({ close, created }: { close(): void; created(): void }) {
  const [label, setLabel] = useState("");
  const [until, setUntil] = useState("");
  const [readOnly, setReadOnly] = useState(false);
  const [key, setKey] = useState<string | null>(null);
  const create = () => {
    const expires_at = until ? new Date(`${until}T23:59:59`).toISOString() : null;
    return send<{ key: string }>("POST", "/api-keys", {
      label: label.trim(),
      expires_at,
      read_only: readOnly,
    });
  };
  const { busy, failure, submit } = useSubmit(create, (made) => {
    setKey(made.key);
    created();
  });
  if (key !== null) return <ShownOnce title="Your new key" secret={key} close={close} />;
  return (
    <Dialog title="New API key" close={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          <TextField
            label="Label"
            value={label}
            change={setLabel}
            required
            maxLength={100}
            help="Where it is used: a laptop, a script."
            fault={failure?.message}
          />
          <TextField label="Expires (optional)" type="date" value={until} change={setUntil} />
          <label class="check">
            <input
              type="checkbox"
              checked={readOnly}
              onChange={(event) => setReadOnly(event.currentTarget.checked)}
            />
            Read-only
          </label>
        </div>
        <DialogFoot cancel={close}>
          <button class="button button-primary" disabled={busy}>
            Create
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}
