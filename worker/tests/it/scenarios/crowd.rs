//! Thousands of mapped tasks. Two are the scheduler's own work, the others are copied from them in Airflow's database:
//! to expand them all would keep it busy for minutes.

use serde_json::json;

use super::scene::Scene;

pub async fn begin(scene: &Scene) {
    scene.trigger("crowd", "crowd", json!({})).await;
}

/// Makes two thousand of two, within a second or so.
pub async fn grow(scene: &Scene) {
    scene
        .change(
            "insert into task_instance
             select (jsonb_populate_record(t, jsonb_build_object(
                 'map_index', number, 'id', gen_random_uuid(), 'updated_at', clock_timestamp()))).*
             from task_instance t, generate_series(2, 1999) number
             where dag_id = 'crowd' and task_id = 'one' and map_index = 0",
        )
        .await;
}

/// All of them at one and the same moment, which no window can part.
pub async fn try_again(scene: &Scene) {
    scene
        .change(
            "update task_instance set try_number = try_number + 1, start_date = now(), end_date = now(), updated_at = now()
             where dag_id = 'crowd' and task_id = 'one'",
        )
        .await;
}

pub async fn assert_told(scene: &Scene) {
    let expanded = "select count(*) from task_runs
        where task_id = 'one' and status = 'success' and deleted_at is null and map_index >= 0";
    scene.assert_count(2000, expanded).await;
    let stand_in =
        "select count(*) from task_runs where task_id = 'one' and deleted_at is null and map_index < 0";
    scene.assert_count(0, stand_in).await;
}
