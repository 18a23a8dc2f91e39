//! Changes that no list of changes contains: notes, and deleted runs.

use serde_json::{Value, json};

use super::mirrored_airflow::MirroredAirflow;

pub(super) async fn change(mirrored: &MirroredAirflow) {
    let run = "dags/simple/dagRuns/noted";
    note(mirrored, run, json!({"note": "not listed"})).await;
    note(mirrored, &format!("{run}/taskInstances/first"), json!({"note": "not listed either"})).await;
    mirrored.airflow.delete("dags/simple/dagRuns/gone").await.unwrap();
}

async fn note(mirrored: &MirroredAirflow, of: &str, note: Value) {
    let path = if mirrored.is_airflow_2() { format!("{of}/setNote") } else { of.to_owned() };
    mirrored.airflow.patch(&path, &note).await.unwrap();
}

pub(super) async fn assert_projected(mirrored: &MirroredAirflow) {
    let noted = "select count(*) from runs where external_id = 'noted' and note = 'not listed'";
    mirrored.assert_count(1, noted).await;
    let deleted = "select count(*) from runs where external_id = 'gone' and deleted_at is not null";
    mirrored.assert_count(1, deleted).await;
    let tasks = "select count(*) from task_runs t join runs r on r.id = t.run_id
        where r.external_id = 'gone' and t.deleted_at is not null";
    mirrored.assert_count(2, tasks).await;
}
