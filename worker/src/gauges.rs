//! What is looked up rather than counted: when each connector was last synced well and is due again, what waits, and
//! how far the read model is behind. Here the worker's metrics are described, too.

mod lag;

use std::time::Duration;

use chrono::{DateTime, Utc};
use lag::{Behind, Log};
use metrics::{Counter, Unit, describe_counter, describe_gauge, describe_histogram};
use platform::kafka::KafkaConfig;
use provider::connector::parse_schedule;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

/// How long a gauge is told that is not set any more: its connector is gone.
pub const FORGET: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(10);
/// More connectors than this are not told apart in labels.
const CONNECTORS: i64 = 2_000;
/// Nobody needs to know more exactly how many there are beyond this.
const COUNTED: i64 = 10_000;

/// Describes what is measured here and elsewhere in the worker. What counts rare events is there from the start, so
/// that the first of them is seen as a change.
pub fn describe() {
    describe_connectors();
    describe_queues();
    describe_projection();
    let histogram = |name, help| describe_histogram!(name, Unit::Seconds, help);
    histogram(
        "orchestration_sync_duration_seconds",
        "How long syncs took, by outcome: succeeded, failed, or left to another worker",
    );
    histogram(
        "orchestration_schedule_lateness_seconds",
        "How long after its scheduled time a sync began: ticking, waiting for a place",
    );
    describe_counter!("orchestration_ticks_total", "Looks at the schedules, one a second");
    describe_counter!("orchestration_ticks_missed_total", "Scheduled syncs that were due but passed over");
    describe_counter!("orchestration_changes_total", "Pipelines, runs and task runs found changed, by kind");
    describe_counter!("orchestration_events_published_total", "Events acknowledged by Kafka, by topic");
    ticks().increment(0);
    metrics::counter!("orchestration_ticks_missed_total").increment(0);
}

fn describe_connectors() {
    describe_gauge!(
        "orchestration_connector_last_success_timestamp_seconds",
        Unit::Seconds,
        "When the last good sync of a connector ended, or when it was made if it had none"
    );
    describe_gauge!(
        "orchestration_connector_due_timestamp_seconds",
        Unit::Seconds,
        "When a connector is to be synced well again, by its own schedule; not told without one"
    );
    describe_gauge!(
        "orchestration_connector_consecutive_failures",
        "Failed syncs of a connector since the last good one"
    );
}

fn describe_queues() {
    describe_gauge!("orchestration_syncs_waiting", "Syncs that wait");
    describe_gauge!("orchestration_syncs_running", "Syncs that run");
    describe_gauge!(
        "orchestration_syncs_oldest_waiting_seconds",
        Unit::Seconds,
        "Age of the oldest sync that waits for a worker, and not for another sync of its connector"
    );
    describe_gauge!(
        "orchestration_outbox_records",
        "Records that wait to be sent to Kafka, counted to 10000"
    );
    describe_gauge!(
        "orchestration_outbox_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest record that waits to be sent"
    );
    describe_gauge!(
        "orchestration_dead_letters_open",
        "Records that made no sense and were not sent again, counted to 10000"
    );
}

fn describe_projection() {
    describe_gauge!(
        "orchestration_projector_lag_records",
        "Records that the read model has not taken yet, by topic"
    );
    describe_gauge!(
        "orchestration_projector_lag_seconds",
        Unit::Seconds,
        "Age of the oldest record that the read model has not taken yet, by topic"
    );
    describe_counter!("orchestration_records_applied_total", "Records read from Kafka and applied, by group");
    describe_counter!(
        "orchestration_events_too_large_total",
        "Events left out since they were larger than Kafka takes, by topic"
    );
    describe_counter!("orchestration_dead_letters_total", "Records that made no sense, by group");
    describe_counter!(
        "orchestration_retention_removed_total",
        "Rows that were removed because they were older than they are kept, by what they were"
    );
}

/// The ticker's own heartbeat.
pub fn ticks() -> Counter {
    metrics::counter!("orchestration_ticks_total")
}

/// Keeps the gauges up to date until stopped. While a server is away they tell what was last known.
pub async fn keep(pool: PgPool, kafka: KafkaConfig, stop: CancellationToken) {
    let mut connectors = Vec::new();
    let mut queues = Queues::default();
    let mut behind = Vec::new();
    let mut log = None;
    while !stop.is_cancelled() {
        let (seen, waiting) = tokio::join!(look_at_connectors(&pool), look_at_queues(&pool));
        match seen.and_then(|seen| Ok((seen, waiting?))) {
            Ok(found) => (connectors, queues) = found,
            Err(error) => tracing::debug!(%error, "PostgreSQL does not answer; the gauges stay as they are"),
        }
        match look_at_lag(&pool, &kafka, &mut log).await {
            Ok(found) => behind = found,
            Err(error) => tracing::debug!(%error, "the lag is not known just now"),
        }
        connectors.iter().for_each(Connector::tell);
        queues.tell();
        behind.iter().for_each(Behind::tell);
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

#[derive(sqlx::FromRow)]
struct Connector {
    id: String,
    last_success_at: DateTime<Utc>,
    /// The last good sync, or a later change of the connector.
    expected_from: DateTime<Utc>,
    schedule: Option<String>,
    failures: i32,
}

async fn look_at_connectors(pool: &PgPool) -> Result<Vec<Connector>, sqlx::Error> {
    sqlx::query_as(
        "select c.id::text as id, coalesce(state.last_success_at, c.created_at) as last_success_at,
             greatest(state.last_success_at, c.created_at, c.updated_at) as expected_from,
             c.config->>'schedule' as schedule, state.failures
         from connectors c join connector_state state on state.connector_id = c.id
         where c.is_active and c.deleted_at is null order by c.id limit $1",
    )
    .bind(CONNECTORS)
    .fetch_all(pool)
    .await
}

impl Connector {
    fn tell(&self) {
        let label = [("connector_id", self.id.clone())];
        metrics::gauge!("orchestration_connector_last_success_timestamp_seconds", &label)
            .set(seconds(self.last_success_at));
        metrics::gauge!("orchestration_connector_consecutive_failures", &label).set(self.failures);
        if let Some(due) = self.due_at() {
            metrics::gauge!("orchestration_connector_due_timestamp_seconds", &label).set(seconds(due));
        }
    }

    fn due_at(&self) -> Option<DateTime<Utc>> {
        let cron = parse_schedule(self.schedule.as_deref()?).ok()?;
        cron.find_next_occurrence(&self.expected_from, false).ok()
    }
}

fn seconds(at: DateTime<Utc>) -> f64 {
    at.timestamp_micros() as f64 / 1e6
}

#[derive(Default, sqlx::FromRow)]
struct Queues {
    waiting: i64,
    running: i64,
    oldest_waiting: f64,
    outbox: i64,
    oldest_outbox: f64,
    dead: i64,
}

async fn look_at_queues(pool: &PgPool) -> Result<Queues, sqlx::Error> {
    sqlx::query_as(
        "select s.*, o.*, d.* from
             (select count(*) filter (where status = 'queued') as waiting,
                  count(*) filter (where status = 'running') as running,
                  coalesce(extract(epoch from now() - min(requested_at) filter (
                      where status = 'queued' and not exists (
                          select from syncs busy where busy.connector_id = open.connector_id and busy.status = 'running')
                  )), 0)::float8 as oldest_waiting
              from syncs open where status in ('queued', 'running')) s,
             (select count(*) as outbox, coalesce(extract(epoch from now() - min(created_at)), 0)::float8 as oldest_outbox
              from (select created_at from outbox order by id limit $1) oldest) o,
             (select count(*) as dead from (select from dead_letters where replayed_at is null limit $1) letters) d",
    )
    .bind(COUNTED)
    .fetch_one(pool)
    .await
}

impl Queues {
    fn tell(&self) {
        metrics::gauge!("orchestration_syncs_waiting").set(self.waiting as f64);
        metrics::gauge!("orchestration_syncs_running").set(self.running as f64);
        metrics::gauge!("orchestration_syncs_oldest_waiting_seconds").set(self.oldest_waiting);
        metrics::gauge!("orchestration_outbox_records").set(self.outbox as f64);
        metrics::gauge!("orchestration_outbox_oldest_seconds").set(self.oldest_outbox);
        metrics::gauge!("orchestration_dead_letters_open").set(self.dead as f64);
    }
}

async fn look_at_lag(
    pool: &PgPool,
    kafka: &KafkaConfig,
    log: &mut Option<Log>,
) -> anyhow::Result<Vec<Behind>> {
    let reached = sqlx::query_as("select topic, partition, next_offset from projection_offsets")
        .fetch_all(pool)
        .await?;
    let open = match log {
        Some(open) => open,
        None => log.insert(Log::open(kafka)?),
    };
    open.behind(reached).await
}
