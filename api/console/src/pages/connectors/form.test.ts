import { expect, test } from "vitest";
import type { Connector } from "../../api/model";
import { changeBody, fieldsOf, newBody } from "./form";

const stored = {
  name: "prod",
  config: { base_url: "https://airflow.example", schedule: "0 * * * *", history_days: 30, verify_tls: true },
  credentials: { auth_type: "basic", username: "svc" },
} as Connector;

test("a change sends only what differs, and no credentials unless they are written anew", () => {
  const before = fieldsOf(stored);
  expect(changeBody(before, { ...before }, false)).toEqual({});
  expect(changeBody(before, { ...before, schedule: "" }, false)).toEqual({ config: { schedule: null } });
  const moved = { ...before, base_url: "https://other.example", password: "secret" };
  expect(changeBody(before, moved, true)).toEqual({
    config: { base_url: "https://other.example" },
    credentials: { auth_type: "basic", username: "svc", password: "secret" },
  });
});

test("a new connector has only the credentials of its kind", () => {
  const fields = {
    ...fieldsOf(null),
    name: " prod ",
    base_url: "https://a.example",
    auth_type: "token" as const,
    token: "t",
    password: "left",
  };
  expect(newBody(fields)).toEqual({
    name: "prod",
    connector_type: "airflow",
    config: { base_url: "https://a.example", schedule: "*/30 * * * * *", history_days: 30, verify_tls: true },
    credentials: { auth_type: "token", token: "t" },
  });
});

test("a client of an identity provider is read back without its secret, and written as a whole", () => {
  const client = {
    token_url: "https://idp.example/token",
    client_id: "svc",
    scope: "airflow",
    audience: null,
  };
  const before = fieldsOf({ ...stored, credentials: { auth_type: "oauth2", ...client } } as Connector);
  expect([before.auth_type, before.client_id, before.client_secret]).toEqual(["oauth2", "svc", ""]);
  expect(changeBody(before, { ...before, client_secret: "s" }, true)).toEqual({
    credentials: { auth_type: "oauth2", ...client, client_secret: "s" },
  });
});

test("a service account is sent with its key file as JSON, or as what it is", () => {
  const fields = { ...fieldsOf(null), auth_type: "service_account" as const, audience: "iap" };
  const sent = (key: string) => newBody({ ...fields, key }).credentials;
  const account = { auth_type: "service_account", scope: null, audience: "iap" };
  expect(sent('{"type": "service_account"}')).toEqual({ ...account, key: { type: "service_account" } });
  expect(sent("a key")).toEqual({ ...account, key: "a key" });
});

test("a client certificate is sent with its key, and may replace the secret of a client", () => {
  const certificate = { client_certificate: "certificate", client_key: "key" };
  const sent = (fields: object) => newBody({ ...fieldsOf(null), ...fields }).credentials;
  expect(sent({ auth_type: "none", ...certificate })).toEqual({ auth_type: "none", ...certificate });
  expect(sent({ auth_type: "none", client_key: "key" })).toHaveProperty("client_certificate", "");
  expect(sent({ auth_type: "oauth2", ...certificate })).not.toHaveProperty("client_secret");
  expect(sent({ auth_type: "oauth2", client_secret: "s", ...certificate })).toHaveProperty("client_secret");
  expect(sent({ auth_type: "oauth2" })).toHaveProperty("client_secret", "");
});
