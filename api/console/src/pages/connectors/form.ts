// The fields of a connector as a form holds them, and the body that is sent for them.
import type { Connector } from "../../api/model";

export type AuthType = "basic" | "token" | "oauth2" | "service_account" | "none";

export const authLabels: Record<AuthType, string> = {
  basic: "User and password",
  token: "Token",
  oauth2: "Client of an identity provider (OAuth 2.0)",
  service_account: "Service account of Google",
  none: "None",
};

export interface ConnectorFields {
  name: string;
  base_url: string;
  schedule: string;
  history_days: string;
  verify_tls: boolean;
  auth_type: AuthType;
  username: string;
  password: string;
  token: string;
  token_url: string;
  client_id: string;
  client_secret: string;
  scope: string;
  audience: string;
  /** The key file of a service account, which is JSON. */
  key: string;
  client_certificate: string;
  client_key: string;
}

const blank: ConnectorFields = {
  name: "",
  base_url: "",
  schedule: "*/30 * * * * *",
  history_days: "30",
  verify_tls: true,
  auth_type: "basic",
  username: "",
  password: "",
  token: "",
  token_url: "",
  client_id: "",
  client_secret: "",
  scope: "",
  audience: "",
  key: "",
  client_certificate: "",
  client_key: "",
};

export function fieldsOf(connector: Connector | null): ConnectorFields {
  if (!connector) return { ...blank };
  const { config, credentials } = connector;
  return {
    ...blank,
    name: connector.name,
    base_url: config.base_url ?? "",
    schedule: config.schedule ?? "",
    history_days: String(config.history_days ?? 30),
    verify_tls: config.verify_tls ?? true,
    auth_type: (credentials.auth_type as AuthType | undefined) ?? "none",
    username: credentials.username ?? "",
    token_url: credentials.token_url ?? "",
    client_id: credentials.client_id ?? "",
    scope: credentials.scope ?? "",
    audience: credentials.audience ?? "",
  };
}

const trimmed = (text: string) => text.trim();

/** The key file as JSON; a text that is none is sent as it is, and refused. */
function keyOf(file: string): unknown {
  try {
    return JSON.parse(file);
  } catch {
    return file;
  }
}

function secretsOf(fields: ConnectorFields): Record<string, unknown> {
  const target = { scope: trimmed(fields.scope) || null, audience: trimmed(fields.audience) || null };
  switch (fields.auth_type) {
    case "basic":
      return { username: trimmed(fields.username), password: fields.password };
    case "token":
      return { token: trimmed(fields.token) };
    case "oauth2":
      return {
        token_url: trimmed(fields.token_url),
        client_id: trimmed(fields.client_id),
        ...(fields.client_secret || !fields.client_certificate
          ? { client_secret: fields.client_secret }
          : {}),
        ...target,
      };
    case "service_account":
      return { key: keyOf(fields.key), ...target };
    default:
      return {};
  }
}

function credentialsOf(fields: ConnectorFields): Record<string, unknown> {
  const { auth_type, client_certificate, client_key } = fields;
  const certificate = client_certificate || client_key ? { client_certificate, client_key } : {};
  return { auth_type, ...secretsOf(fields), ...certificate };
}

function configOf(fields: ConnectorFields): Record<string, unknown> {
  return {
    base_url: trimmed(fields.base_url),
    schedule: trimmed(fields.schedule) || null,
    history_days: Number(fields.history_days),
    verify_tls: fields.verify_tls,
  };
}

export function newBody(fields: ConnectorFields): Record<string, unknown> {
  return {
    name: trimmed(fields.name),
    connector_type: "airflow",
    config: configOf(fields),
    credentials: credentialsOf(fields),
  };
}

/** Only what differs from before; the credentials are written anew as a whole, or not at all. */
export function changeBody(
  before: ConnectorFields,
  fields: ConnectorFields,
  withCredentials: boolean,
): Record<string, unknown> {
  const body: Record<string, unknown> = {};
  if (trimmed(fields.name) !== before.name) body.name = trimmed(fields.name);
  const [old, config] = [configOf(before), configOf(fields)];
  const changed = Object.entries(config).filter(([name, value]) => old[name] !== value);
  if (changed.length > 0) body.config = Object.fromEntries(changed);
  if (withCredentials) body.credentials = credentialsOf(fields);
  return body;
}
