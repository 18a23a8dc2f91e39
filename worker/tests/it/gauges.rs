//! What the gauges tell of connectors, queues and the lag.

use std::time::Duration;

use contract::events::Topic;
use contract::state::RunState;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio_util::sync::CancellationToken;
use worker::gauges;

use crate::test_worker::TestWorker;

/// The gauges of one look around, as a scrape would show them.
async fn look_around(test: &TestWorker) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let told = async {
        // These are told last.
        while !recorder.handle().render().contains("orchestration_projector_lag_seconds") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = gauges::keep(test.pool.clone(), test.kafka().clone(), CancellationToken::new()) => {}
        () = told => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("nothing is told"),
    }
    recorder.handle().render()
}

fn value(told: &str, series: &str) -> f64 {
    let line = told.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in {told}")).parse().unwrap()
}

#[tokio::test]
async fn a_projection_that_stands_still_is_behind_in_records_and_in_seconds() {
    let test = TestWorker::idle().await;
    let topic = test.kafka().topic(Topic::Runs);
    sqlx::query(
        "insert into projection_offsets (topic, partition, next_offset) values ($1, 0, 0), ($1, 1, 0)",
    )
    .bind(&topic)
    .execute(&test.pool)
    .await
    .unwrap();
    let runs: Vec<_> = (0..10).map(|run| test.run("sales", &run.to_string(), 1, RunState::Success)).collect();
    test.send(&runs[..9]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    test.send(&runs[9..]).await;
    let told = look_around(&test).await;
    let (records, seconds) = ("orchestration_projector_lag_records", "orchestration_projector_lag_seconds");
    let of = |name: &str, topic: &str| value(&told, &format!("{name}{{topic=\"{topic}\"}}"));
    assert_eq!(of(records, "orchestration.runs.v1"), 10.0);
    // The oldest counts, not the newest.
    assert!((2.0..120.0).contains(&of(seconds, "orchestration.runs.v1")), "{told}");
    assert_eq!(of(records, "orchestration.pipelines.v1"), 0.0);
    assert_eq!(of(seconds, "orchestration.pipelines.v1"), 0.0);
}

#[tokio::test]
async fn a_connector_is_due_by_its_own_schedule_from_its_last_good_sync_on() {
    let test = TestWorker::idle().await;
    let id = test.connector;
    for statement in [
        "update connectors set config = config || '{\"schedule\": \"0 0 5 * * *\"}', created_at = '2026-01-01Z',
             updated_at = '2026-01-01Z'",
        "update connector_state set last_success_at = '2026-03-01T05:10:00Z', failures = 3",
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
         select gen_random_uuid(), space_id, id, 'queued', 'manual', now() - interval '100 seconds' from connectors",
    ] {
        test.execute(statement).await;
    }
    let told = look_around(&test).await;
    let of = |name: &str| value(&told, &format!("orchestration_connector_{name}{{connector_id=\"{id}\"}}"));
    let at = |time: &str| time.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp() as f64;
    assert_eq!(of("last_success_timestamp_seconds"), at("2026-03-01T05:10:00Z"));
    assert_eq!(of("due_timestamp_seconds"), at("2026-03-02T05:00:00Z"));
    assert_eq!(of("consecutive_failures"), 3.0);
    assert!((100.0..200.0).contains(&value(&told, "orchestration_syncs_oldest_waiting_seconds")), "{told}");

    for statement in [
        "update connectors set config = config || '{\"schedule\": null}'",
        // It waits for a sync of its own connector now, and for no worker.
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
         select gen_random_uuid(), space_id, id, 'running', 'manual', now() from connectors",
    ] {
        test.execute(statement).await;
    }
    let told = look_around(&test).await;
    assert!(!told.contains("orchestration_connector_due_timestamp_seconds"), "{told}");
    assert_eq!(value(&told, "orchestration_syncs_oldest_waiting_seconds"), 0.0);
    assert_eq!(
        (value(&told, "orchestration_syncs_waiting"), value(&told, "orchestration_syncs_running")),
        (1.0, 1.0)
    );
}
