//! Gauges that are looked up rather than counted: how old each connector's last good sync is, what waits, and how far
//! the read model is behind.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use shared::events::Topic;
use shared::kafka::KafkaConfig;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(5);
/// More connectors than this are not told apart in labels.
const CONNECTORS: i64 = 2_000;

/// Describes what is measured here and elsewhere in the worker.
pub fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!(
        "orchestration_last_success_age_seconds",
        Unit::Seconds,
        "Age of the last good sync, by connector"
    );
    describe_gauge!("orchestration_syncs_waiting", "Syncs that wait for a worker");
    describe_gauge!("orchestration_outbox_records", "Records that wait to be sent to Kafka");
    describe_gauge!("orchestration_dead_letters", "Records that made no sense and were not sent again");
    describe_gauge!(
        "orchestration_projector_lag_records",
        "Records that the read model has not taken yet, by topic"
    );
    describe_counter!("orchestration_syncs_total", "Syncs that ended, by outcome");
    describe_counter!("orchestration_ticks_missed_total", "Scheduled syncs that were due but passed over");
    describe_counter!("orchestration_records_applied_total", "Records read from Kafka and applied, by group");
    describe_counter!("orchestration_dead_letters_total", "Records that made no sense, by group");
    describe_counter!(
        "orchestration_retention_removed_total",
        "Rows that were removed because they were older than they are kept, by what they were"
    );
    describe_counter!(
        "orchestration_source_requests_total",
        "Requests to providers, by connector and answer"
    );
    describe_histogram!(
        "orchestration_sync_duration_seconds",
        Unit::Seconds,
        "How long syncs took, by outcome"
    );
}

/// Keeps the gauges up to date until stopped.
pub async fn keep(pool: PgPool, kafka: KafkaConfig, stop: CancellationToken) {
    loop {
        if let Err(error) = look_up(&pool).await {
            tracing::debug!(%error, "PostgreSQL does not answer; the gauges stay as they are");
        }
        match lag(&pool, &kafka).await {
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "the lag is not known just now"),
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn look_up(pool: &PgPool) -> Result<(), sqlx::Error> {
    let ages: Vec<(String, f64)> = sqlx::query_as(
        "select c.id::text, extract(epoch from now() - coalesce(state.last_success_at, c.created_at))::float8
         from connectors c join connector_state state on state.connector_id = c.id
         where c.is_active and c.deleted_at is null order by c.id limit $1",
    )
    .bind(CONNECTORS)
    .fetch_all(pool)
    .await?;
    for (connector, age) in ages {
        metrics::gauge!("orchestration_last_success_age_seconds", "connector_id" => connector).set(age);
    }
    let (waiting, outbox, dead): (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from syncs where status = 'queued'), (select count(*) from outbox),
             (select count(*) from dead_letters where replayed_at is null)",
    )
    .fetch_one(pool)
    .await?;
    metrics::gauge!("orchestration_syncs_waiting").set(waiting as f64);
    metrics::gauge!("orchestration_outbox_records").set(outbox as f64);
    metrics::gauge!("orchestration_dead_letters").set(dead as f64);
    Ok(())
}

async fn lag(pool: &PgPool, kafka: &KafkaConfig) -> anyhow::Result<()> {
    let reached: Vec<(String, i32, i64)> =
        sqlx::query_as("select topic, partition, next_offset from projection_offsets")
            .fetch_all(pool)
            .await?;
    let consumer: BaseConsumer = kafka.client().create()?;
    let kafka = kafka.clone();
    tokio::task::spawn_blocking(move || {
        for topic in Topic::STATE {
            let name = kafka.topic(topic);
            let mut lag = 0;
            for (_, partition, next) in reached.iter().filter(|(topic, _, _)| *topic == name) {
                let (low, high) = consumer.fetch_watermarks(&name, *partition, PATIENCE)?;
                lag += (high - next.max(&low)).max(0);
            }
            metrics::gauge!("orchestration_projector_lag_records", "topic" => topic.to_string())
                .set(lag as f64);
        }
        Ok::<_, anyhow::Error>(())
    })
    .await?
}
