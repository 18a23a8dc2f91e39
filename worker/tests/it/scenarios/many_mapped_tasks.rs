//! Thousands of mapped tasks. The scheduler expands two; the others are copied in Airflow's database, since
//! expanding all of them takes minutes.

use serde_json::json;

use super::mirrored_airflow::MirroredAirflow;

pub(super) async fn begin(mirrored: &MirroredAirflow) {
    mirrored.trigger("crowd", "crowd", json!({})).await;
}

/// Copies two task instances to two thousand, within a second or so.
pub(super) async fn grow(mirrored: &MirroredAirflow) {
    mirrored
        .change(
            "insert into task_instance
             select (jsonb_populate_record(t, jsonb_build_object( 'map_index', number, 'id',
                 gen_random_uuid(), 'updated_at', clock_timestamp()))).*
             from task_instance t, generate_series(2, 1999) number
             where dag_id = 'crowd' and task_id = 'one' and map_index = 0",
        )
        .await;
}

/// Changes all instances at the same time, so that no window of time splits them.
pub(super) async fn retry_all(mirrored: &MirroredAirflow) {
    mirrored
        .change(
            "update task_instance set try_number = try_number + 1, start_date = now(), end_date = now(),
             updated_at = now()
             where dag_id = 'crowd' and task_id = 'one'",
        )
        .await;
}

pub(super) async fn assert_projected(mirrored: &MirroredAirflow) {
    let expanded = "select count(*) from task_runs
        where task_id = 'one' and status = 'success' and deleted_at is null and map_index >= 0";
    mirrored.assert_count(2000, expanded).await;
    let placeholder =
        "select count(*) from task_runs where task_id = 'one' and deleted_at is null and map_index < 0";
    mirrored.assert_count(0, placeholder).await;
}
