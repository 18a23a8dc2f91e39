// The form of a connector, new or changed. Secrets are written and never read back.
import { useState } from "preact/hooks";
import { type Failure, asFailure, faultsByField } from "../../api/failure";
import type { Connector } from "../../api/model";
import { Alert } from "../../components/Alert";
import { SelectField } from "../../components/SelectField";
import { TextArea } from "../../components/TextArea";
import { TextField } from "../../components/TextField";
import { namedSchedules } from "../../data/connectors";
import { type AuthType, type ConnectorFields, authLabels, changeBody, fieldsOf, newBody } from "./form";

interface ConnectorFormProps {
  connector: Connector | null;
  /** Sends the body; a rejection is shown in the form. */
  save(body: Record<string, unknown>): Promise<void>;
  cancel(): void;
}

export function ConnectorForm({ connector, save, cancel }: ConnectorFormProps) {
  const [before] = useState(() => fieldsOf(connector));
  const [fields, setFields] = useState(before);
  const [withCredentials, setWithCredentials] = useState(connector === null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [busy, setBusy] = useState(false);
  const change = (part: Partial<ConnectorFields>) => setFields({ ...fields, ...part });
  const faults = faultsByField(failure?.faults ?? []);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    const body = connector ? changeBody(before, fields, withCredentials) : newBody(fields);
    await save(body).catch((error: unknown) => {
      const failed = asFailure(error);
      setFailure(failed);
      if (faultsByField(failed.faults).credentials) setWithCredentials(true);
    });
    setBusy(false);
  };
  return (
    <form class="stack form" onSubmit={submit}>
      {failure && <Alert>{failure.message}</Alert>}
      <fieldset class="panel form-part">
        <legend>Airflow</legend>
        <TextField
          label="Name"
          value={fields.name}
          fault={faults.name}
          required
          maxLength={200}
          change={(name) => change({ name })}
        />
        <TextField
          label="Address"
          type="url"
          value={fields.base_url}
          fault={faults.base_url}
          required
          placeholder="https://airflow.example"
          change={(base_url) => change({ base_url })}
          help="Where Airflow's own web pages are. Versions 2.11 and 3 are detected."
        />
        <label class="check">
          <input
            type="checkbox"
            checked={fields.verify_tls}
            onChange={(event) => change({ verify_tls: event.currentTarget.checked })}
          />
          Verify the certificate
        </label>
      </fieldset>
      <Credentials {...{ connector, fields, faults, change, withCredentials, setWithCredentials }} />
      <Schedule fields={fields} faults={faults} change={change} />
      <div class="row">
        <button class="button button-primary" disabled={busy}>
          {connector ? "Save" : "Create the connector"}
        </button>
        <button type="button" class="button" onClick={cancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}

interface PartProps {
  fields: ConnectorFields;
  faults: Record<string, string>;
  change(part: Partial<ConnectorFields>): void;
}

interface CredentialsProps extends PartProps {
  connector: Connector | null;
  withCredentials: boolean;
  setWithCredentials(value: boolean): void;
}

function Credentials({
  connector,
  fields,
  faults,
  change,
  withCredentials,
  setWithCredentials,
}: CredentialsProps) {
  return (
    <fieldset class="panel form-part">
      <legend>Credentials</legend>
      {connector && (
        <label class="check">
          <input
            type="checkbox"
            checked={withCredentials}
            onChange={(event) => setWithCredentials(event.currentTarget.checked)}
          />
          Replace the credentials. The current ones are never shown; they are needed again for another
          address, or if the certificate is no longer verified.
        </label>
      )}
      {withCredentials && (
        <>
          <SelectField
            label="Kind"
            value={fields.auth_type}
            options={Object.entries(authLabels) as [AuthType, string][]}
            change={(auth_type) => change({ auth_type })}
          />
          <Secrets fields={fields} faults={faults} change={change} />
          <ClientCertificate fields={fields} faults={faults} change={change} />
        </>
      )}
    </fieldset>
  );
}

function Secrets({ fields, faults, change }: PartProps) {
  const text = (
    name: keyof ConnectorFields,
    label: string,
    required = true,
    type: "text" | "password" | "url" = "text",
  ) => (
    <TextField
      label={label}
      type={type}
      value={String(fields[name])}
      fault={faults[name]}
      required={required}
      autoComplete="off"
      change={(value) => change({ [name]: value })}
    />
  );
  const secret = (name: keyof ConnectorFields, label: string) => text(name, label, true, "password");
  switch (fields.auth_type) {
    case "basic":
      return (
        <>
          {text("username", "User")}
          {secret("password", "Password")}
        </>
      );
    case "token":
      return secret("token", "Token");
    case "oauth2":
      return (
        <>
          {text("token_url", "Token address", true, "url")}
          {text("client_id", "Client id")}
          {text("client_secret", "Client secret", !fields.client_certificate, "password")}
          {text("scope", "Scope (optional)", false)}
          {text("audience", "Audience (optional)", false)}
        </>
      );
    case "service_account":
      return (
        <>
          <TextArea
            label="Key file"
            rows={5}
            required
            value={fields.key}
            fault={faults.key ?? faults.private_key ?? faults.token_uri ?? faults.client_email}
            change={(key) => change({ key })}
            help="The JSON that Google issued for the service account."
          />
          {text("scope", "Scope (optional)", false)}
          {text("audience", "Audience of ID tokens, in place of a scope (optional)", false)}
        </>
      );
    default:
      return null;
  }
}

function ClientCertificate({ fields, faults, change }: PartProps) {
  const { client_certificate, client_key } = fields;
  const area = (
    name: "client_certificate" | "client_key",
    label: string,
    help: string,
    required: boolean,
  ) => (
    <TextArea
      label={label}
      rows={4}
      required={required}
      value={fields[name]}
      fault={faults[name]}
      change={(value) => change({ [name]: value })}
      help={help}
    />
  );
  return (
    <details>
      <summary>Client certificate (mutual TLS)</summary>
      {area(
        "client_certificate",
        "Client certificate",
        "As PEM, with the certificates of intermediate authorities after it.",
        client_key !== "",
      )}
      {area("client_key", "Private key", "As PEM, without a passphrase.", client_certificate !== "")}
    </details>
  );
}

function Schedule({ fields, faults, change }: PartProps) {
  return (
    <fieldset class="panel form-part">
      <legend>Syncs</legend>
      <TextField
        label="Schedule"
        value={fields.schedule}
        fault={faults.schedule}
        list="schedules"
        change={(schedule) => change({ schedule })}
        help="A cron expression in UTC; with six fields, the first is seconds. Leave it empty to sync by request only."
      />
      <datalist id="schedules">
        {namedSchedules.map(([cron, name]) => (
          <option key={cron} value={cron}>
            {name}
          </option>
        ))}
      </datalist>
      <TextField
        label="Days of history"
        type="number"
        value={fields.history_days}
        fault={faults.history_days}
        required
        change={(history_days) => change({ history_days })}
        help="How far back the first sync reads runs."
      />
    </fieldset>
  );
}
