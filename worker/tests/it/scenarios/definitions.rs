//! DAGs that are changed, paused, removed from their file, or deleted.

use serde_json::json;

use super::mirrored_airflow::MirroredAirflow;

pub(super) async fn change(mirrored: &MirroredAirflow) {
    mirrored.write_dag("edited", include_str!("dags/edited_after.py"));
    mirrored.remove_dag("removed");
    mirrored.remove_dag("doomed");
    mirrored.airflow.patch("dags/producer", &json!({"is_paused": true})).await.unwrap();
    let stale = if mirrored.is_airflow_2() { "not is_active" } else { "is_stale" };
    mirrored
        .wait_for(&format!("select count(*) = 2 from dag where dag_id in ('removed', 'doomed') and {stale}"))
        .await;
    mirrored.poll().await;
    mirrored.airflow.delete("dags/doomed").await.unwrap();
    mirrored.wait_for("select description = 'As it is' from dag where dag_id = 'edited'").await;
    // A pipeline must be missing from two listings.
    mirrored.poll().await;
}

pub(super) async fn assert_projected(mirrored: &MirroredAirflow) {
    let edited = "select count(*) from pipelines where external_id = 'edited' and owners = '{bob,carol}'
        and tags = '{after,more}' and schedule = '0 5 1 * *' and name = 'Edited'
        and tasks @> '[{\"task_id\": \"comes\"}]' and not tasks @> '[{\"task_id\": \"goes\"}]'";
    mirrored.assert_count(1, edited).await;
    let removed = "select count(*) from pipelines where external_id = 'removed' and not is_active and
                    deleted_at is null";
    mirrored.assert_count(1, removed).await;
    let doomed =
        "select count(*) from pipelines where external_id = 'doomed' and not is_active and deleted_at
                    is not null";
    mirrored.assert_count(1, doomed).await;
    mirrored
        .assert_count(1, "select count(*) from pipelines where external_id = 'producer' and is_paused")
        .await;
}
