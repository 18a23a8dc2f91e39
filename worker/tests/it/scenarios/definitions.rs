//! DAGs whose authors change them, pause them, take them out of their files or have them deleted.

use serde_json::json;

use super::scene::Scene;

pub async fn change(scene: &Scene) {
    scene.write_dag("edited", include_str!("dags/edited_after.py"));
    scene.remove_dag("removed");
    scene.remove_dag("doomed");
    scene.airflow.patch("dags/producer", &json!({"is_paused": true})).await.unwrap();
    let gone = if scene.is_airflow_2() { "not is_active" } else { "is_stale" };
    scene
        .until(&format!("select count(*) = 2 from dag where dag_id in ('removed', 'doomed') and {gone}"))
        .await;
    scene.poll().await;
    scene.airflow.delete("dags/doomed").await.unwrap();
    scene.until("select description = 'As it is' from dag where dag_id = 'edited'").await;
    // A pipeline that is missing once may be back the next time.
    scene.poll().await;
}

pub async fn assert_told(scene: &Scene) {
    let edited = "select count(*) from pipelines where external_id = 'edited' and owners = '{bob,carol}'
        and tags = '{after,more}' and schedule = '0 5 1 * *' and name = 'Edited'
        and tasks @> '[{\"task_id\": \"comes\"}]' and not tasks @> '[{\"task_id\": \"goes\"}]'";
    scene.assert_count(1, edited).await;
    let removed = "select count(*) from pipelines where external_id = 'removed' and not is_active and deleted_at is null";
    scene.assert_count(1, removed).await;
    let doomed = "select count(*) from pipelines where external_id = 'doomed' and not is_active and deleted_at is not null";
    scene.assert_count(1, doomed).await;
    scene
        .assert_count(1, "select count(*) from pipelines where external_id = 'producer' and is_paused")
        .await;
}
