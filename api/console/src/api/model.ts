// The types of the API under the names that pages use.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Pipeline = Schemas["Pipeline"];
export type RecentRun = Schemas["RecentRun"];
export type FacetValue = Schemas["FacetCount"];
export type Facets = Schemas["PipelineFacets"];
export type FacetName = keyof Facets;
export type BulkAnswer = Schemas["BulkResult"];
export type PipelineDetail = Schemas["PipelineDetail"];
export type TaskNode = Schemas["TaskNode"];
export type Run = Schemas["Run"];
export type RunSummary = Schemas["RunSummary"];
export type RunDetail = Schemas["RunDetail"];
export type Grid = Schemas["Grid"];
export type GridTask = Schemas["GridTask"];
export type TaskRun = Schemas["TaskRun"];
export type Comment = Schemas["Comment"];
export type Connector = Omit<Schemas["Connector"], "config" | "credentials"> & {
  config: ConnectorConfig;
  credentials: ConnectorCredentials;
};
/** What may be read back of credentials, by their `auth_type`. */
export interface ConnectorCredentials {
  auth_type?: string;
  username?: string;
  token_url?: string;
  client_id?: string;
  scope?: string | null;
  audience?: string | null;
  /** Of the key file of a service account. */
  key?: { client_email: string };
  client_certificate?: string;
}
export interface ConnectorConfig {
  base_url?: string;
  schedule?: string | null;
  history_days?: number;
  verify_tls?: boolean;
  api_version?: string;
}
export type Sync = Schemas["Sync"];
export type Me = Schemas["Me"];
export type Session = Schemas["Session"];
export type SignInProvider = Schemas["SessionProvider"];
export type BrowserSession = Schemas["SessionEntry"];
export type Membership = Schemas["Membership"];
export type AuditEntry = Schemas["AuditEntry"];
export type Tested = Schemas["Tested"];
export type Role = Schemas["RoleWord"];
export type Criticality = NonNullable<Pipeline["criticality"]>;
export type Team = Schemas["TeamDetail"];
export type TeamMember = Schemas["TeamMember"];
export type Member = Schemas["Member"];
export type Person = Schemas["PersonEntry"];
export type GroupMapping = Schemas["GroupMapping"];
export type ApiKey = Schemas["ApiKey"];
export type Incident = Omit<Schemas["Incident"], "evidence"> & { evidence: Evidence };
/** The numbers that the sentence of an incident was made of: which of them there are depends on its kind. */
export interface Evidence {
  failures?: number;
  first_failed_at?: string;
  first_failed_run_id?: string;
  first_failed_task?: { task_run_id: string; task_id: string; map_index: number } | null;
  failed_tasks?: number;
  upstream_failed_tasks?: number;
  due_at?: string;
  started_at?: string | null;
  seen_at?: string;
  elapsed_seconds?: number;
  limit_seconds?: number;
  duration_p50_seconds?: number | null;
  duration_p95_seconds?: number | null;
  class?: string;
  runs?: number;
  last_good_at?: string;
  stale_at?: string;
  schedule?: string | null;
}
export type ExpectedRun = NonNullable<RunDetail["expected"]>;
export type Notification = Schemas["Notification"];
export type Channel = Omit<Schemas["NotificationChannel"], "config"> & { config: ChannelConfig };
export type ChannelType = Channel["type"];
/** What of a channel's target may be read back: see `deploy/NOTIFICATIONS.md`. */
export interface ChannelConfig {
  url?: string;
  host?: string | null;
  to?: string[];
  previous_secret_until?: string | null;
}
export type SavedChannel = Channel & { signing_secret: string | null };
export type Delivery = Schemas["NotificationDelivery"];
export type Rule = Schemas["NotificationRule"];
/** A parameter of a run. The generated types of a free value and of a free object allow nothing. */
export type Parameter = Omit<Schemas["Parameter"], "value" | "schema"> & {
  value?: unknown;
  schema: Record<string, unknown>;
};
export type ParametersAnswer = Omit<Schemas["Parameters"], "parameters"> & { parameters: Parameter[] | null };
