//! What no list of changes tells: notes, and runs that are deleted.

use serde_json::{Value, json};

use super::scene::Scene;

pub async fn change(scene: &Scene) {
    let run = "dags/simple/dagRuns/noted";
    note(scene, run, json!({"note": "nobody saw it"})).await;
    note(scene, &format!("{run}/taskInstances/first"), json!({"note": "nor this"})).await;
    scene.airflow.delete("dags/simple/dagRuns/gone").await.unwrap();
}

async fn note(scene: &Scene, of: &str, note: Value) {
    let place = if scene.is_airflow_2() { format!("{of}/setNote") } else { of.to_owned() };
    scene.airflow.patch(&place, &note).await.unwrap();
}

pub async fn assert_told(scene: &Scene) {
    let noted = "select count(*) from runs where external_id = 'noted' and note = 'nobody saw it'";
    scene.assert_count(1, noted).await;
    let gone = "select count(*) from runs where external_id = 'gone' and deleted_at is not null";
    scene.assert_count(1, gone).await;
    let tasks = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where r.external_id = 'gone' and t.deleted_at is not null";
    scene.assert_count(2, tasks).await;
}
