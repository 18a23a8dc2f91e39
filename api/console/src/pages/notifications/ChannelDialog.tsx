// The form of a channel, new or changed.
import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Channel, ChannelType, SavedChannel } from "../../api/model";
import { Alert } from "../../components/Alert";
import { Dialog, DialogFoot } from "../../components/Dialog";
import { SelectField } from "../../components/SelectField";
import { ShownOnce } from "../../components/ShownOnce";
import { TextArea } from "../../components/TextArea";
import { TextField } from "../../components/TextField";
import { useSubmit } from "../../data/submit";
import { type ChannelFields, changeBody, fieldsOf, newBody } from "./channel_fields";
import { typeTexts, types } from "./words";

interface ChannelDialogProps {
  /** The path of the channels of the space. */
  path: string;
  channel: Channel | null;
  close(): void;
  /** Called when the dialog is done, after a new secret was shown. */
  saved(channel: Channel): void;
}

export function ChannelDialog({ path, channel, close, saved }: ChannelDialogProps) {
  const [before] = useState(() => fieldsOf(channel));
  const [fields, setFields] = useState(before);
  const [made, setMade] = useState<SavedChannel | null>(null);
  const change = (part: Partial<ChannelFields>) => setFields({ ...fields, ...part });
  const done = (after: Channel) => {
    saved(after);
    close();
  };
  const save = () =>
    channel
      ? send<SavedChannel>("PATCH", `${path}/${channel.id}`, changeBody(before, fields))
      : send<SavedChannel>("POST", path, newBody(fields));
  const { busy, failure, faults, submit } = useSubmit(save, (after) =>
    after.signing_secret === null ? done(after) : setMade(after),
  );
  if (made?.signing_secret) {
    return <ShownOnce title="The signing secret" secret={made.signing_secret} close={() => done(made)} />;
  }
  return (
    <Dialog title={channel ? `Change ${channel.name}` : "New channel"} close={close}>
      <form onSubmit={submit}>
        <div class="dialog-body">
          {failure && failure.faults.length === 0 && <Alert>{failure.message}</Alert>}
          {channel === null && (
            <SelectField
              label="Type"
              value={fields.type}
              options={types.map((type): [ChannelType, string] => [type, typeTexts[type]])}
              change={(type) => change({ type })}
            />
          )}
          <TextField
            label="Name"
            value={fields.name}
            change={(name) => change({ name })}
            fault={faults.name}
            required
            maxLength={200}
          />
          <Target {...{ channel, fields, faults, change }} />
        </div>
        <DialogFoot cancel={close}>
          <button class="button button-primary" disabled={busy}>
            {channel ? "Save" : "Create"}
          </button>
        </DialogFoot>
      </form>
    </Dialog>
  );
}

interface TargetProps {
  channel: Channel | null;
  fields: ChannelFields;
  faults: Record<string, string>;
  change(part: Partial<ChannelFields>): void;
}

/** The fields of the type. A secret of an existing channel is never shown, and stays if its field is empty. */
function Target(props: TargetProps) {
  const { channel, fields, faults, change } = props;
  switch (fields.type) {
    case "webhook":
      return <WebhookTarget {...props} />;
    case "pagerduty":
      return <PagerDutyTarget {...props} />;
    case "email":
      return <Recipients {...props} />;
    default:
      return (
        <SecretField
          channel={channel}
          label={`Address of the ${fields.type === "slack" ? "incoming webhook" : "workflow"}`}
          value={fields.address}
          fault={faults.url}
          change={(address) => change({ address })}
        />
      );
  }
}

function WebhookTarget({ channel, fields, faults, change }: TargetProps) {
  return (
    <>
      <TextField
        label="Address"
        type="url"
        value={fields.url}
        change={(url) => change({ url })}
        fault={faults.url}
        required
        placeholder="https://hooks.example.org/orchestration"
        help="Gets signed requests, as Standard Webhooks 1.0 describes them."
      />
      {channel && (
        <label class="check">
          <input
            type="checkbox"
            checked={fields.exchange}
            onChange={(event) => change({ exchange: event.currentTarget.checked })}
          />
          Replace the signing secret. For 24 hours, requests are signed with the current one, too.
        </label>
      )}
      {(channel === null || fields.exchange) && (
        <TextField
          label="Signing secret (optional)"
          type="password"
          value={fields.signingSecret}
          change={(signingSecret) => change({ signingSecret })}
          fault={faults.signing_secret}
          autoComplete="off"
          help="Begins with whsec_. Without one it is generated, and shown once."
        />
      )}
    </>
  );
}

function PagerDutyTarget({ channel, fields, faults, change }: TargetProps) {
  return (
    <>
      <SecretField
        channel={channel}
        label="Integration key"
        value={fields.routingKey}
        fault={faults.routing_key ?? faults.secrets}
        change={(routingKey) => change({ routingKey })}
      />
      <TextField
        label="Address (optional)"
        type="url"
        value={fields.url}
        change={(url) => change({ url })}
        fault={faults.url}
        help="Only if it is not PagerDuty's own Events API v2."
      />
    </>
  );
}

interface SecretFieldProps {
  channel: Channel | null;
  label: string;
  value: string;
  fault: string | undefined;
  change(value: string): void;
}

function SecretField({ channel, label, value, fault, change }: SecretFieldProps) {
  return (
    <TextField
      label={label}
      type="password"
      value={value}
      change={change}
      fault={fault}
      required={channel === null}
      autoComplete="off"
      help={
        channel ? "It is never shown. Leave it empty to keep the current one." : "It cannot be read back."
      }
    />
  );
}

function Recipients({ fields, faults, change }: TargetProps) {
  return (
    <TextArea
      label="Recipients"
      rows={3}
      required
      value={fields.to}
      fault={faults.to}
      change={(to) => change({ to })}
      help="Up to 50 addresses, separated by commas or lines."
    />
  );
}
