//! Outcomes of tasks: success, failure, retry, skip, branch, a failed upstream task, mapped expansion.

use serde_json::json;

use super::mirrored_airflow::MirroredAirflow;

pub(super) async fn begin(mirrored: &MirroredAirflow) {
    let conf = json!({"conf": {"words": ["größe", "a/b"], "number": 1.5, "nothing": null}});
    mirrored.trigger("outcomes", "first", conf).await;
}

pub(super) async fn assert_projected(mirrored: &MirroredAirflow) {
    mirrored
        .assert_count(
            1,
            "select count(*) from runs where external_id = 'first' and status = 'failed'
             and conf = '{\"words\": [\"größe\", \"a/b\"], \"number\": 1.5, \"nothing\": null}'",
        )
        .await;
    mirrored
        .assert_count(
            11,
            "select count(*) from task_runs where deleted_at is null and (task_id, map_index, status,
                 try_number) in ( ('flaky', -1, 'success', 2), ('skipped', -1, 'skipped', 1),
                 ('behind_the_skipped', -1, 'skipped', 0), ('choose', -1, 'success', 1), ('passed_over', -1,
                 'skipped', 0), ('broken', -1, 'failed', 1), ('behind_the_broken', -1, 'upstream_failed', 0),
                 ('double', 0, 'success', 1), ('double', 1, 'success', 1), ('double', 2, 'success', 1),
                 ('never', -1, 'skipped', 0))",
        )
        .await;
    let names = "select count(*) from task_runs where task_id = 'cleanup' and name = 'Clean up' and status =
                    'success'";
    mirrored.assert_count(1, names).await;
}
