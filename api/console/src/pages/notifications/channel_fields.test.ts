import { expect, test } from "vitest";
import type { Channel } from "../../api/model";
import { addressesOf, changeBody, fieldsOf, newBody } from "./channel_fields";

const blank = { ...fieldsOf(null), name: " on-call " };

test("a new channel has the target and the secrets of its type alone", () => {
  const url = "https://hooks.example";
  const all = { ...blank, url, address: "https://slack.example/x", routingKey: "r", to: "a@x.example" };
  expect(newBody(all)).toEqual({ type: "webhook", name: "on-call", config: { url } });
  expect(newBody({ ...all, signingSecret: "whsec_x" }).secrets).toEqual({ signing_secret: "whsec_x" });
  expect(newBody({ ...all, type: "teams" })).toEqual({
    type: "teams",
    name: "on-call",
    secrets: { url: "https://slack.example/x" },
  });
  expect(newBody({ ...all, type: "pagerduty", url: "" })).toEqual({
    type: "pagerduty",
    name: "on-call",
    secrets: { routing_key: "r" },
  });
  expect(newBody({ ...all, type: "email" })).toEqual({
    type: "email",
    name: "on-call",
    config: { to: ["a@x.example"] },
  });
});

const stored = (part: Partial<Channel>) => fieldsOf({ name: "on-call", config: {}, ...part } as Channel);

test("a change sends what differs; a secret that is not written stays", () => {
  const webhook = stored({ type: "webhook", config: { url: "https://a.example" } });
  expect(changeBody(webhook, webhook)).toEqual({});
  expect(changeBody(webhook, { ...webhook, url: "https://b.example" })).toEqual({
    config: { url: "https://b.example" },
  });
  expect(changeBody(webhook, { ...webhook, exchange: true })).toEqual({ secrets: {} });
  const slack = stored({ type: "slack", config: { host: "slack.example" } });
  expect(changeBody(slack, { ...slack, name: "other" })).toEqual({ name: "other" });
  const pagerduty = stored({ type: "pagerduty", config: { url: "https://events.example" } });
  expect(changeBody(pagerduty, { ...pagerduty, url: " " })).toEqual({ config: {} });
});

test("addresses are separated as people write them", () => {
  expect(addressesOf(" a@x.example, b@x.example;\nc@x.example a@x.example ")).toEqual([
    "a@x.example",
    "b@x.example",
    "c@x.example",
  ]);
});
