//! Runs that somebody interferes with: deferred, cleared, marked, refused.

use serde_json::json;

use super::scene::Scene;

pub async fn begin(scene: &Scene) {
    scene.trigger("waits", "soon", json!({"conf": {"seconds": 20}})).await;
    scene.trigger("waits", "late", json!({"conf": {"seconds": 1_000_000}})).await;
    scene.trigger("chain", "cleared", json!({})).await;
    scene.trigger("chain", "marked", json!({})).await;
    for run in ["kept", "noted", "gone"] {
        scene.trigger("simple", run, json!({})).await;
    }
}

/// A task that waits is no work, and so the run that resumes must be waited for.
pub async fn until_resumed(scene: &Scene) {
    scene.until("select state = 'success' from dag_run where run_id = 'soon'").await;
}

pub async fn assert_told(scene: &Scene) {
    let deferred = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where t.task_id = 'wait' and r.external_id = 'late' and t.status = 'deferred' and r.status = 'running'";
    scene.assert_count(1, deferred).await;
    let resumed = "select count(*) from runs where external_id = 'soon' and status = 'success'";
    scene.assert_count(1, resumed).await;
}

pub async fn interfere(scene: &Scene) {
    scene.clear("chain", "cleared", "work").await;
    let mark = match scene.is_airflow_2() {
        true => json!({"dry_run": false, "new_state": "failed"}),
        false => json!({"new_state": "failed"}),
    };
    scene.airflow.patch("dags/chain/dagRuns/marked/taskInstances/work", &mark).await.unwrap();
    scene.airflow.patch("dags/waits/dagRuns/late", &json!({"state": "success"})).await.unwrap();
    scene.trigger("slow", "stopped", json!({})).await;
    scene
        .until("select exists (select from task_instance where dag_id = 'slow' and state = 'running')")
        .await;
    // The mirror has to know it as running before it fails.
    scene.poll().await;
    scene.airflow.patch("dags/slow/dagRuns/stopped", &json!({"state": "failed"})).await.unwrap();
    scene.poll().await;
}

pub async fn assert_interference_told(scene: &Scene) {
    let cleared = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where r.external_id = 'cleared' and t.task_id = 'work' and t.try_number = 2 and t.status = 'success'";
    scene.assert_count(1, cleared).await;
    let marked = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where r.external_id = 'marked' and t.task_id = 'work' and t.status = 'failed'";
    scene.assert_count(1, marked).await;
    let stopped = "select count(*) from runs where external_id = 'stopped' and status = 'failed'";
    scene.assert_count(1, stopped).await;
    let ended = "select count(*) from runs where external_id = 'late' and status = 'success'";
    scene.assert_count(1, ended).await;
}
