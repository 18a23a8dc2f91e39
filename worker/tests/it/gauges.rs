//! Gauges of connectors, queues and the lag of the projection, and the counter of unreadable rows.

use std::time::Duration;

use contract::events::{SyncRequested, Topic};
use contract::ids::SyncId;
use contract::state::RunState;
use metrics_exporter_prometheus::PrometheusBuilder;
use platform::health::Heartbeat;
use platform::kafka::KafkaConfig;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use worker::metrics as worker_metrics;

use crate::syncing::small_provider;
use crate::test_worker::TestWorker;

/// The gauges after one refresh by these connections, as a scrape returns them.
pub(crate) async fn scrape(pool: &PgPool, kafka: &KafkaConfig) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let metrics = async {
        // These gauges are set last.
        while !recorder.handle().render().contains("orchestration_requests_lag_seconds") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (heartbeat, stop) = (Heartbeat::default(), CancellationToken::new());
    tokio::select! {
        () = worker_metrics::run(pool.clone(), kafka.clone(), heartbeat, stop) => {}
        () = metrics => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no gauges are set"),
    }
    recorder.handle().render()
}

pub(crate) fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
}

#[tokio::test]
async fn the_lag_of_a_stopped_projection_is_measured_in_records_and_seconds() {
    let test = TestWorker::idle().await;
    let topic = test.kafka().topic(Topic::Runs);
    sqlx::query(
        "insert into projection_offsets (topic, partition, next_offset) values ($1, 0, 0), ($1, 1, 0)",
    )
    .bind(&topic)
    .execute(&test.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into projection_offsets (topic, partition, next_offset) values ($1, 0, 0), ($1, 1, 0)",
    )
    .bind(test.kafka().topic(Topic::SyncRequests))
    .execute(&test.pool)
    .await
    .unwrap();
    let request = SyncRequested {
        id: SyncId(uuid::Uuid::now_v7()),
        connector_id: test.connector,
        full: false,
        accept_mass_deletion: false,
        space: String::new(),
        observed_at: chrono::Utc::now(),
    };
    test.send(&[request]).await;
    let runs: Vec<_> = (0..10).map(|run| test.run("sales", &run.to_string(), 1, RunState::Success)).collect();
    test.send(&runs[..9]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    test.send(&runs[9..]).await;
    let metrics = scrape(&test.pool, test.kafka()).await;
    let (records, seconds) = ("orchestration_projector_lag_records", "orchestration_projector_lag_seconds");
    let gauge = |name: &str, topic: &str| value(&metrics, &format!("{name}{{topic=\"{topic}\"}}"));
    assert_eq!(gauge(records, "orchestration.runs.v1"), 10.0);
    // The lag is the age of the oldest record.
    assert!((2.0..120.0).contains(&gauge(seconds, "orchestration.runs.v1")), "{metrics}");
    assert_eq!(gauge(records, "orchestration.pipelines.v1"), 0.0);
    assert_eq!(gauge(seconds, "orchestration.pipelines.v1"), 0.0);
    let requests = "orchestration.sync-requests.v1";
    assert_eq!(gauge("orchestration_requests_lag_records", requests), 1.0);
    assert!((2.0..120.0).contains(&gauge("orchestration_requests_lag_seconds", requests)), "{metrics}");
}

#[tokio::test]
async fn a_connector_is_due_by_its_schedule_after_its_last_successful_sync() {
    let test = TestWorker::idle().await;
    let id = test.connector;
    for statement in [
        "update connectors set config = config || '{\"schedule\": \"0 0 5 * * *\"}',
             created_at = '2026-01-01Z', updated_at = '2026-01-01Z'",
        "update connector_state set last_success_at = '2026-03-01T05:10:00Z', failures = 3",
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
         select gen_random_uuid(), space_id, id, 'queued', 'manual', now() - interval '100 seconds'
         from connectors",
    ] {
        test.execute(statement).await;
    }
    let metrics = scrape(&test.pool, test.kafka()).await;
    let gauge =
        |name: &str| value(&metrics, &format!("orchestration_connector_{name}{{connector_id=\"{id}\"}}"));
    let at = |time: &str| time.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp() as f64;
    assert_eq!(gauge("last_success_timestamp_seconds"), at("2026-03-01T05:10:00Z"));
    assert_eq!(gauge("due_timestamp_seconds"), at("2026-03-02T05:00:00Z"));
    assert_eq!(gauge("consecutive_failures"), 3.0);
    assert!(
        (100.0..200.0).contains(&value(&metrics, "orchestration_syncs_oldest_waiting_seconds")),
        "{metrics}"
    );

    for statement in [
        "update connectors set config = config || '{\"schedule\": null}'",
        // The queued sync waits for the running one of its own connector, and not for a worker.
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
         select gen_random_uuid(), space_id, id, 'running', 'manual', now() from connectors",
    ] {
        test.execute(statement).await;
    }
    let metrics = scrape(&test.pool, test.kafka()).await;
    assert!(!metrics.contains("orchestration_connector_due_timestamp_seconds"), "{metrics}");
    assert_eq!(value(&metrics, "orchestration_syncs_oldest_waiting_seconds"), 0.0);
    assert_eq!(
        (value(&metrics, "orchestration_syncs_waiting"), value(&metrics, "orchestration_syncs_running")),
        (1.0, 1.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_rows_are_counted_by_kind_once_in_a_sync() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let test = TestWorker::start().await;
    let provider = small_provider(&test);
    provider.unreadable_tasks.lock().unwrap().insert("t1".to_owned());
    *provider.changed.lock().unwrap() = true;
    test.sync(&provider, false).await.unwrap();
    let counted = "orchestration_source_unreadable_total{what=\"task_run\"}";
    assert_eq!(value(&recorder.handle().render(), counted), 15.0);
}
