//! The worker's metrics: gauges of connectors, queues and the consumers' lag, which are refreshed at an
//! interval, and the counters and histograms that other modules record.

mod describe;
mod lag;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::events::Topic;
use contract::state::{EntityKind, IncidentKind};
use metrics::{counter, gauge, histogram};
use platform::health::Heartbeat;
use platform::kafka::KafkaConfig;
use platform::notifications::ChannelType;
use platform::offsets::find_projected;
use platform::periodic::Periodic;
use provider::connector::parse_schedule;
use sqlx::PgPool;
use strum::VariantArray;
use tokio_util::sync::CancellationToken;

pub use describe::describe;

use crate::store::connectors::{self, ConnectorHealth};
use crate::store::notification_deliveries::AttemptEffect;
use crate::store::queues::{self, QueueLengths};
use lag::{LagReader, TopicLag};

/// Gauges that are not set for this long disappear from `/metrics`: their connector was deleted.
pub const GAUGE_TTL: Duration = Duration::from_secs(60);
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);
/// More connectors than this have no gauges of their own, to limit the number of labels.
const MAX_CONNECTORS: i64 = 2_000;
/// Queues are counted up to this length.
const MAX_COUNT: i64 = 10_000;

/// The values of the gauges after a refresh.
#[derive(Default)]
struct Measurements {
    connectors: Vec<ConnectorHealth>,
    queues: QueueLengths,
    lag: Vec<TopicLag>,
}

/// Refreshes the gauges until stopped. While a server is down they keep their last values.
pub async fn run(pool: PgPool, kafka: KafkaConfig, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut found = Measurements::default();
    let mut lag_reader = None;
    let mut ticks = Periodic::new(REFRESH_INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        found.refresh(&pool, &kafka, &mut lag_reader).await;
        found.record();
    }
}

impl Measurements {
    async fn refresh(&mut self, pool: &PgPool, kafka: &KafkaConfig, lag_reader: &mut Option<LagReader>) {
        let queries = async {
            tokio::try_join!(
                connectors::find_health(pool, MAX_CONNECTORS),
                queues::find_lengths(pool, MAX_COUNT)
            )
        };
        match queries.await {
            Ok((connectors, queues)) => (self.connectors, self.queues) = (connectors, queues),
            Err(error) => tracing::debug!(%error, "gauges not refreshed"),
        }
        match read_lag(pool, kafka, lag_reader).await {
            Ok(lag) => self.lag = lag,
            Err(error) => tracing::debug!(%error, "lag not refreshed"),
        }
    }

    fn record(&self) {
        self.connectors.iter().for_each(record_connector);
        record_queues(&self.queues);
        self.lag.iter().for_each(record_lag);
    }
}

async fn read_lag(
    pool: &PgPool,
    kafka: &KafkaConfig,
    reader: &mut Option<LagReader>,
) -> anyhow::Result<Vec<TopicLag>> {
    let projected = find_projected(pool).await?;
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(LagReader::open(kafka)?),
    };
    reader.read(projected).await
}

fn record_connector(connector: &ConnectorHealth) {
    let label = [("connector_id", connector.id.clone())];
    gauge!("orchestration_connector_last_success_timestamp_seconds", &label)
        .set(timestamp_seconds(connector.last_success_at));
    gauge!("orchestration_connector_consecutive_failures", &label).set(connector.failures);
    if let Some(due_at) = due_at(connector) {
        gauge!("orchestration_connector_due_timestamp_seconds", &label).set(timestamp_seconds(due_at));
    }
}

fn due_at(connector: &ConnectorHealth) -> Option<DateTime<Utc>> {
    let cron = parse_schedule(connector.schedule.as_deref()?).ok()?;
    cron.find_next_occurrence(&connector.expected_from, false).ok()
}

fn timestamp_seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

fn record_queues(queues: &QueueLengths) {
    gauge!("orchestration_syncs_waiting").set(queues.queued_syncs as f64);
    gauge!("orchestration_syncs_running").set(queues.running_syncs as f64);
    gauge!("orchestration_syncs_oldest_waiting_seconds").set(queues.oldest_queued_seconds);
    gauge!("orchestration_outbox_records").set(queues.outbox_records as f64);
    gauge!("orchestration_outbox_oldest_seconds").set(queues.oldest_outbox_seconds);
    gauge!("orchestration_dead_letters_open").set(queues.open_dead_letters as f64);
    gauge!("orchestration_notifications_pending").set(queues.pending_notifications as f64);
    gauge!("orchestration_notifications_oldest_pending_seconds").set(queues.oldest_notification_seconds);
}

fn record_lag(lag: &TopicLag) {
    let label = [("topic", lag.topic.to_string())];
    if lag.topic == Topic::SyncRequests {
        gauge!("orchestration_requests_lag_records", &label).set(lag.records as f64);
        gauge!("orchestration_requests_lag_seconds", &label).set(lag.seconds);
        return;
    }
    gauge!("orchestration_projector_lag_records", &label).set(lag.records as f64);
    gauge!("orchestration_projector_lag_seconds", &label).set(lag.seconds);
}

/// Counts a tick of the schedules, one a second.
pub(crate) fn count_tick() {
    counter!("orchestration_ticks_total").increment(1);
}

/// Counts scheduled syncs that were due but skipped.
pub(crate) fn count_missed_ticks(missed: u64) {
    counter!("orchestration_ticks_missed_total").increment(missed);
}

/// Records how long after its scheduled time a sync started.
pub(crate) fn record_schedule_lateness(seconds: f64) {
    histogram!("orchestration_schedule_lateness_seconds").record(seconds);
}

/// Records how long a sync took.
pub(crate) fn record_sync_duration(outcome: &'static str, seconds: f64) {
    histogram!("orchestration_sync_duration_seconds", "outcome" => outcome).record(seconds);
}

/// Counts changes that a sync has found, by kind of entity.
pub(crate) fn count_changes(topic: Topic, changes: u64) {
    let kind = match topic {
        Topic::Pipelines => "pipeline",
        Topic::Runs => "run",
        Topic::TaskRuns => "task_run",
        Topic::Syncs | Topic::SyncRequests => "sync",
        Topic::Governance => "governance",
        Topic::Comments => "comment",
        Topic::Incidents => "incident",
    };
    counter!("orchestration_changes_total", "kind" => kind).increment(changes);
}

/// Records how many incidents of each kind are unresolved, and counts those that were opened.
pub(crate) fn record_incidents(unresolved: &BTreeMap<IncidentKind, usize>, opened: &[IncidentKind]) {
    for kind in IncidentKind::VARIANTS {
        let count = unresolved.get(kind).copied().unwrap_or_default();
        gauge!("orchestration_incidents_unresolved", "kind" => <&str>::from(kind)).set(count as f64);
        let opened = opened.iter().filter(|opened| *opened == kind).count();
        counter!("orchestration_incidents_opened_total", "kind" => <&str>::from(kind))
            .increment(opened as u64);
    }
    counter!("orchestration_signal_evaluations_total").increment(1);
}

/// Counts rows of a provider that were completely or partly unreadable, by kind of entity.
pub(crate) fn count_unreadable(what: EntityKind, rows: u64) {
    let what: &'static str = what.into();
    counter!("orchestration_source_unreadable_total", "what" => what).increment(rows);
}

/// Counts records that a consumer group has applied or rejected.
pub(crate) fn count_records(group: &'static str, applied: usize, rejected: usize) {
    counter!("orchestration_records_applied_total", "group" => group).increment(applied as u64);
    counter!("orchestration_dead_letters_total", "group" => group).increment(rejected as u64);
}

/// Counts partitions that are read from their start, because their log is not the one that was read before.
pub(crate) fn count_log_reset() {
    counter!("orchestration_log_resets_total").increment(1);
}

/// Counts rejected records that were not stored, because there are too many open dead letters.
pub(crate) fn count_left_out_dead_letters(group: &'static str, left_out: usize) {
    counter!("orchestration_dead_letters_left_out_total", "group" => group).increment(left_out as u64);
}

/// The outcomes of attempts to send a notification.
const NOTIFICATION_OUTCOMES: [&str; 3] = ["delivered", "retried", "failed"];

/// Counts an attempt to send a notification.
pub(crate) fn count_notification(channel_type: ChannelType, effect: AttemptEffect) {
    let [delivered, retried, failed] = NOTIFICATION_OUTCOMES;
    let outcome = match effect {
        AttemptEffect::Delivered => delivered,
        AttemptEffect::Retry(_) => retried,
        AttemptEffect::Failed => failed,
    };
    count_notifications(channel_type, outcome, 1);
}

fn count_notifications(channel_type: ChannelType, outcome: &'static str, attempts: u64) {
    let labels = [("type", channel_type.to_string()), ("outcome", outcome.to_owned())];
    counter!("orchestration_notification_attempts_total", &labels).increment(attempts);
}

/// Counts rows that retention has removed.
pub(crate) fn count_removed_rows(what: &'static str, rows: u64) {
    counter!("orchestration_retention_removed_total", "what" => what).increment(rows);
}
