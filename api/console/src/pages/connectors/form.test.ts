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
