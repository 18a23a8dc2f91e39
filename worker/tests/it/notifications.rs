//! Notifications: which channels and users are notified of incidents, and how messages reach their receivers.

mod delivery;
mod dispatch;
mod email;
mod faults;
mod inbox;
mod network;
mod order;
mod receiver;
mod retention;
mod services;
mod standard_webhooks;
mod walk;

use std::path::Path;

use contract::ids::{ChannelId, PipelineId};
use platform::notifications::{ChannelSecrets, SigningSecret};
use platform::secrets::Keyring;
use provider::NetworkPolicy;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::keyring;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::notifications::{Deliverer, Sender, SenderConfig, SmtpConfig, SmtpTls, dispatch};
use worker::queue::runner::Runner;

use crate::test_worker::TestWorker;

pub(crate) const SIGNING_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A database with a space, and the worker's connections to it.
pub(crate) struct NotificationTest {
    /// Connections with the owner's role, to set up and to look at rows.
    pub db: PgPool,
    /// Connections with the worker's role.
    pub worker: PgPool,
    pub keyring: Keyring,
    pub space: Uuid,
    pub connector: Uuid,
}

impl NotificationTest {
    pub(crate) async fn new() -> Self {
        let database = local::test_database().await.unwrap();
        let space = testkit::create_space(&database.pool, "finance").await;
        let config = json!({"base_url": "http://127.0.0.1:1/"});
        let connector = testkit::create_connector(&database.pool, "finance", "airflow", config).await.0;
        Self {
            db: database.pool.clone(),
            worker: local::test_pool(&database.worker_url).unwrap(),
            keyring: keyring("a"),
            space,
            connector,
        }
    }

    /// The database of a worker under test.
    pub(crate) async fn of_worker(test: &TestWorker) -> Self {
        let space: Uuid = sqlx::query_scalar("select id from spaces").fetch_one(&test.pool).await.unwrap();
        let Runner { pool, keyring, .. } = &test.worker.runner;
        Self {
            db: test.pool.clone(),
            worker: pool.clone(),
            keyring: keyring.clone(),
            space,
            connector: test.connector.0,
        }
    }

    pub(crate) async fn sql(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&self.db).await.unwrap();
    }

    pub(crate) async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.db).await.unwrap()
    }

    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&self.db).await.unwrap()
    }

    /// Inserts a pipeline with a tag and a criticality.
    pub(crate) async fn pipeline(&self, name: &str, tag: &str, criticality: Option<&str>) -> PipelineId {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
                 log_offset, observed_at, first_seen_at, name, owners, tags, is_paused, is_active,
                 provider_metadata, tasks)
             values ('{id}', '{}', '{}', 'airflow', '{name}', 1, '', 0, now(), now(), '{name}', '{{}}',
                 '{{{tag}}}', false, true, '{{}}', '[]')",
            self.space, self.connector
        ))
        .await;
        if let Some(criticality) = criticality {
            self.sql(&format!(
                "insert into pipeline_governance (pipeline_id, space_id, criticality)
                 values ('{id}', '{}', '{criticality}')",
                self.space
            ))
            .await;
        }
        PipelineId(id)
    }

    /// Opens an incident of a pipeline.
    pub(crate) async fn incident(&self, pipeline: PipelineId, kind: &str) -> Uuid {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into incidents (id, space_id, connector_id, pipeline_id, kind, opened_at, summary,
                 evidence)
             values ('{id}', '{}', '{}', '{pipeline}', '{kind}', now(), 'It is {kind}.', '{{}}')",
            self.space, self.connector
        ))
        .await;
        self.change(id, "opened").await;
        id
    }

    /// Inserts a change of an incident, and the state that follows from it.
    pub(crate) async fn change(&self, incident: Uuid, change: &str) {
        let state = match change {
            "acknowledged" => "status = 'acknowledged'",
            "resolved" => "status = 'resolved', resolved_at = now()",
            "reopened" => "status = 'open', resolved_at = null",
            "counted" => "count = count + 1",
            _ => "count = count",
        };
        self.sql(&format!(
            "update incidents set {state} where id = '{incident}';
             insert into incident_changes (incident_id, change) values ('{incident}', '{change}')"
        ))
        .await;
    }

    /// Inserts a channel with a rule that holds for every incident.
    pub(crate) async fn channel(
        &self,
        channel_type: &str,
        config: Value,
        secrets: Option<ChannelSecrets>,
    ) -> ChannelId {
        let id = self.channel_without_rule(channel_type, config, secrets).await;
        self.rule(id, "").await;
        id
    }

    pub(crate) async fn channel_without_rule(
        &self,
        channel_type: &str,
        config: Value,
        secrets: Option<ChannelSecrets>,
    ) -> ChannelId {
        let id = ChannelId(Uuid::now_v7());
        let sealed = secrets.map(|secrets| secrets.seal(&self.keyring, id).unwrap());
        sqlx::query(
            "insert into notification_channels (id, space_id, channel_type, name, config, secrets_sealed)
             values ($1, $2, $3, $1::text, $4, $5)",
        )
        .bind(id)
        .bind(self.space)
        .bind(channel_type)
        .bind(config)
        .bind(sealed)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    /// Inserts a webhook with a rule that holds for every incident.
    pub(crate) async fn webhook(&self, url: &str) -> ChannelId {
        self.channel("webhook", json!({ "url": url }), Some(signing(&[SIGNING_SECRET]))).await
    }

    /// Inserts a rule with these further columns, such as `tag = 'x'`.
    pub(crate) async fn rule(&self, channel: ChannelId, condition: &str) {
        let id = Uuid::now_v7();
        self.sql(&format!(
            "insert into notification_rules (id, space_id, channel_id) values ('{id}', '{}', '{channel}')",
            self.space
        ))
        .await;
        if !condition.is_empty() {
            self.sql(&format!("update notification_rules set {condition} where id = '{id}'")).await;
        }
    }

    /// Dispatches everything that is due.
    pub(crate) async fn dispatch(&self) {
        while dispatch(&self.worker).await.unwrap() {}
    }

    /// Lets this much time pass for the dispatcher, and dispatches.
    pub(crate) async fn dispatch_after(&self, interval: &str) {
        self.sql(&format!(
            "update notification_threads set due_at = due_at - interval '{interval}',
                 notified_at = notified_at - interval '{interval}';
             update incidents set muted_until = muted_until - interval '{interval}'"
        ))
        .await;
        self.dispatch().await;
    }

    /// The reports of each message to a channel, oldest first, such as `opened sales, resolved stock`.
    pub(crate) async fn messages(&self, channel: ChannelId) -> Vec<String> {
        self.texts(&format!(
            "select (select string_agg(i->>'change' || ' ' || coalesce(i->'pipeline'->>'name', 'connector'),
                 ', ' order by i->'pipeline'->>'name') from jsonb_array_elements(message->'incidents') i)
             from notification_deliveries where channel_id = '{channel}' order by created_at, id"
        ))
        .await
    }

    /// A deliverer of its own worker.
    pub(crate) fn deliverer(&self) -> Deliverer {
        self.deliverer_with(true, &no_smtp())
    }

    pub(crate) fn deliverer_with(&self, allow_private_networks: bool, smtp: &SmtpConfig) -> Deliverer {
        let network = NetworkPolicy { allow_private_networks, ..NetworkPolicy::default() };
        self.deliverer_through(network, None, smtp)
    }

    /// A deliverer with this network, which trusts an authority.
    pub(crate) fn deliverer_through(
        &self,
        network: NetworkPolicy,
        authority: Option<&Path>,
        smtp: &SmtpConfig,
    ) -> Deliverer {
        let notifications_ca_file = authority.map(Path::to_path_buf);
        let config = SenderConfig { public_url: None, notifications_ca_file, smtp: smtp.clone() };
        let sender = Sender::new(self.keyring.clone(), network, &config).unwrap();
        Deliverer::new(self.worker.clone(), sender, CancellationToken::new())
    }

    /// Enqueues a message to a channel as the dispatcher does, and returns its id.
    pub(crate) async fn enqueue(&self, channel: ChannelId) -> Uuid {
        let id = Uuid::now_v7();
        let message = json!({"space": "finance", "at": "2026-01-01T00:00:00Z", "incidents": []});
        self.sql(&format!(
            "insert into notification_deliveries (id, space_id, channel_id, message)
             values ('{id}', '{}', '{channel}', '{message}')",
            self.space
        ))
        .await;
        id
    }

    /// Records that everything in the outbox was delivered.
    pub(crate) async fn record_delivered(&self) {
        self.sql("update notification_deliveries set status = 'delivered', next_attempt_at = null").await;
    }

    /// Inserts so many webhooks, each with a message that is due.
    pub(crate) async fn fleet(&self, url: &str, channels: usize) {
        for _ in 0..channels {
            let secrets = Some(signing(&[SIGNING_SECRET]));
            let channel = self.channel_without_rule("webhook", json!({ "url": url }), secrets).await;
            self.enqueue(channel).await;
        }
    }

    /// Lets this much time pass for messages and pauses.
    pub(crate) async fn pass(&self, interval: &str) {
        self.sql(&format!(
            "update notification_deliveries set next_attempt_at = next_attempt_at - interval '{interval}';
             update notification_channels set paused_until = paused_until - interval '{interval}'"
        ))
        .await;
    }

    /// Makes everything due that waits, and ends all pauses and leases.
    pub(crate) async fn make_due(&self) {
        self.sql(
            "update notification_deliveries set next_attempt_at = now() where next_attempt_at is not null;
             update notification_channels set paused_until = null, lease_until = null",
        )
        .await;
    }

    /// The codes and errors of the attempts of all deliveries, oldest first.
    pub(crate) async fn attempts(&self) -> Vec<String> {
        self.texts(
            "select coalesce(code::text, '-') || coalesce(' ' || error, '') from delivery_attempts
             order by at, number",
        )
        .await
    }
}

pub(crate) fn signing(secrets: &[&str]) -> ChannelSecrets {
    let secret = |secret: &&str| SigningSecret { secret: (*secret).into(), valid_until: None };
    ChannelSecrets::Signing { secrets: secrets.iter().map(secret).collect() }
}

pub(crate) fn address(url: &str) -> ChannelSecrets {
    ChannelSecrets::Address { url: url.into() }
}

pub(crate) fn no_smtp() -> SmtpConfig {
    SmtpConfig {
        smtp_host: None,
        smtp_port: None,
        smtp_tls: SmtpTls::Starttls,
        smtp_username: None,
        smtp_password: None,
        smtp_from: None,
        smtp_ca_file: None,
    }
}
