//! Causes of runs: a schedule, a backfill, an asset, and manual triggers, of which a second for one date is
//! rejected.

use serde_json::json;

use super::mirrored_airflow::MirroredAirflow;

pub(super) async fn begin(mirrored: &MirroredAirflow) {
    mirrored.trigger("producer", "makes", json!({})).await;
    let date = json!({"logical_date": "2026-01-02T03:04:05.678901Z"});
    mirrored.trigger("simple", "dated", date.clone()).await;
    let (status, answer) = mirrored.try_trigger("simple", "dated_again", date).await;
    assert_eq!(status, 409, "{answer}");
    mirrored.trigger("simple", "plus+tilde~", json!({})).await;
    backfill(mirrored).await;
}

async fn backfill(mirrored: &MirroredAirflow) {
    if mirrored.is_airflow_2() {
        let command = ["dags", "backfill", "monthly", "-s", "2025-02-01", "-e", "2025-03-01"];
        local::airflow_command(&mirrored.setup, &command).await.unwrap();
        return;
    }
    let body = json!({
        "dag_id": "monthly", "from_date": "2025-02-01T00:00:00Z", "to_date": "2025-03-01T00:00:00Z",
        "max_active_runs": 2, "run_backwards": false, "dag_run_conf": {}, "reprocess_behavior": "none",
    });
    mirrored.airflow.post("backfills", &body).await.unwrap();
}

pub(super) async fn assert_projected(mirrored: &MirroredAirflow) {
    let by_asset = "select count(*) from runs r join pipelines p on p.id = r.pipeline_id
        where p.external_id = 'consumer' and r.run_type = 'asset_triggered' and r.status = 'success'";
    mirrored.assert_count(1, by_asset).await;
    let backfilled = "select count(*) from runs where run_type = 'backfill' and status = 'success'";
    mirrored.assert_count(2, backfilled).await;
    mirrored.assert_count(1, "select count(*) from runs where run_type = 'scheduled'").await;
    let dated = "select count(*) from runs where logical_date = '2026-01-02T03:04:05.678901Z'";
    mirrored.assert_count(1, dated).await;
    if !mirrored.is_airflow_2() {
        let dateless =
            "select count(*) from runs where logical_date is null and external_id in ('kept', 'noted')";
        mirrored.assert_count(2, dateless).await;
    }
    let interval = "select count(*) from pipelines where schedule = '1 day, 2:00:00' and is_paused";
    mirrored.assert_count(1, interval).await;
}
