//! Runs that are deferred, or that a user clears, marks or stops.

use serde_json::json;

use super::mirrored_airflow::MirroredAirflow;

pub(super) async fn begin(mirrored: &MirroredAirflow) {
    mirrored.trigger("waits", "soon", json!({"conf": {"seconds": 20}})).await;
    mirrored.trigger("waits", "late", json!({"conf": {"seconds": 1_000_000}})).await;
    mirrored.trigger("chain", "cleared", json!({})).await;
    mirrored.trigger("chain", "marked", json!({})).await;
    for run in ["kept", "noted", "gone"] {
        mirrored.trigger("simple", run, json!({})).await;
    }
}

/// Waits for the run that resumes: a deferred task does not count as work in progress.
pub(super) async fn wait_until_resumed(mirrored: &MirroredAirflow) {
    mirrored.wait_for("select state = 'success' from dag_run where run_id = 'soon'").await;
}

pub(super) async fn assert_projected(mirrored: &MirroredAirflow) {
    let deferred = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where t.task_id = 'wait' and r.external_id = 'late'
          and t.status = 'deferred' and r.status = 'running'";
    mirrored.assert_count(1, deferred).await;
    let resumed = "select count(*) from runs where external_id = 'soon' and status = 'success'";
    mirrored.assert_count(1, resumed).await;
}

pub(super) async fn act(mirrored: &MirroredAirflow) {
    mirrored.clear("chain", "cleared", "work").await;
    let mark = if mirrored.is_airflow_2() {
        json!({"dry_run": false, "new_state": "failed"})
    } else {
        json!({"new_state": "failed"})
    };
    mirrored.airflow.patch("dags/chain/dagRuns/marked/taskInstances/work", &mark).await.unwrap();
    mirrored.airflow.patch("dags/waits/dagRuns/late", &json!({"state": "success"})).await.unwrap();
    mirrored.trigger("slow", "stopped", json!({})).await;
    mirrored
        .wait_for("select exists (select from task_instance where dag_id = 'slow' and state = 'running')")
        .await;
    // The read model must contain the run as running before it fails.
    mirrored.poll().await;
    mirrored.airflow.patch("dags/slow/dagRuns/stopped", &json!({"state": "failed"})).await.unwrap();
    mirrored.poll().await;
}

pub(super) async fn assert_actions_projected(mirrored: &MirroredAirflow) {
    let cleared = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where r.external_id = 'cleared' and t.task_id = 'work' and t.try_number = 2 and t.status = 'success'";
    mirrored.assert_count(1, cleared).await;
    let marked = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where r.external_id = 'marked' and t.task_id = 'work' and t.status = 'failed'";
    mirrored.assert_count(1, marked).await;
    let stopped = "select count(*) from runs where external_id = 'stopped' and status = 'failed'";
    mirrored.assert_count(1, stopped).await;
    let ended = "select count(*) from runs where external_id = 'late' and status = 'success'";
    mirrored.assert_count(1, ended).await;
}
