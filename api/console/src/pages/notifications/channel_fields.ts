// The fields of a channel as its form holds them, and the body that is sent for them. Secrets are written and never
// read back: an empty field of an existing channel leaves its secret as it is.
import type { Channel, ChannelType } from "../../api/model";

export interface ChannelFields {
  type: ChannelType;
  name: string;
  /** Of a webhook; of PagerDuty only if it is another server than PagerDuty's own. */
  url: string;
  /** Of Slack and Teams: whoever knows it may post, and so it is a secret. */
  address: string;
  routingKey: string;
  signingSecret: string;
  /** Whether a webhook gets another signing secret. */
  exchange: boolean;
  /** Addresses of e-mail, separated by commas, spaces or lines. */
  to: string;
}

export function fieldsOf(channel: Channel | null): ChannelFields {
  return {
    type: channel?.type ?? "webhook",
    name: channel?.name ?? "",
    url: channel?.config.url ?? "",
    address: "",
    routingKey: "",
    signingSecret: "",
    exchange: false,
    to: (channel?.config.to ?? []).join("\n"),
  };
}

type Body = Record<string, unknown>;

export function newBody(fields: ChannelFields): Body {
  return {
    type: fields.type,
    name: fields.name.trim(),
    ...part("config", configOf(fields)),
    ...part("secrets", secretsOf(fields)),
  };
}

/** Only what differs from before. */
export function changeBody(before: ChannelFields, fields: ChannelFields): Body {
  const config = configOf(fields) ?? {};
  const isSame = JSON.stringify(config) === JSON.stringify(configOf(before) ?? {});
  const secrets =
    fields.type === "webhook" && fields.exchange ? (secretsOf(fields) ?? {}) : secretsOf(fields);
  return {
    ...(fields.name.trim() === before.name ? {} : { name: fields.name.trim() }),
    ...(isSame ? {} : { config }),
    ...part("secrets", secrets),
  };
}

function part(name: string, value: Body | null): Body {
  return value === null ? {} : { [name]: value };
}

function configOf({ type, url, to }: ChannelFields): Body | null {
  switch (type) {
    case "webhook":
      return { url: url.trim() };
    case "pagerduty":
      return url.trim() === "" ? null : { url: url.trim() };
    case "email":
      return { to: addressesOf(to) };
    default:
      return null;
  }
}

function secretsOf(fields: ChannelFields): Body | null {
  const given = (name: string, text: string) => (text.trim() === "" ? null : { [name]: text.trim() });
  switch (fields.type) {
    case "webhook":
      return given("signing_secret", fields.signingSecret);
    case "pagerduty":
      return given("routing_key", fields.routingKey);
    case "email":
      return null;
    default:
      return given("url", fields.address);
  }
}

export function addressesOf(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/).filter(Boolean))];
}
