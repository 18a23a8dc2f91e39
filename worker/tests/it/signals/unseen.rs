//! What is not late: what was due before its pipeline was resumed, and what was cleared. What is not seen,
//! because its connector is switched off, is neither late nor well.

use chrono::{TimeDelta, Utc};

use super::learned_fleet;
use crate::fleet::{Fleet, FleetRun};

/// The incidents in the order of their kinds.
async fn incidents(fleet: &Fleet) -> Vec<String> {
    let mut incidents = fleet.incidents().await;
    incidents.sort();
    incidents
}

#[tokio::test]
async fn what_was_due_before_its_pipeline_was_resumed_is_not_late() {
    let (fleet, pipeline) = learned_fleet().await;
    let ago = |minutes| Utc::now() - TimeDelta::minutes(minutes);
    fleet.execute("insert into pipeline_resumptions select id, $1 from pipelines", ago(5)).await;
    let due_at = ago(100);
    fleet.execute("update pipelines set next_run_at = $1", due_at).await;
    assert_eq!(fleet.incidents().await, [""; 0], "it will be started now");
    fleet.execute("update pipelines set next_run_at = $1", Utc::now() + TimeDelta::hours(1)).await;
    fleet.run(pipeline, FleetRun { started: None, status: "queued", ..FleetRun::running(due_at) }).await;
    assert_eq!(fleet.incidents().await, [""; 0]);
    fleet.run(pipeline, FleetRun { started: Some(96 * 60), ..FleetRun::running(due_at) }).await;
    assert_eq!(fleet.incidents().await, [""; 0]);
    // What is due afterwards can be late.
    fleet.execute("update pipelines set next_run_at = $1", ago(4)).await;
    assert_eq!(fleet.incidents().await, ["late_start open 1"]);
}

#[tokio::test]
async fn a_run_that_was_cleared_is_not_late() {
    let (fleet, pipeline) = learned_fleet().await;
    // One that was seen when it had ended, and one that was not, but has a task from then.
    for (hours, is_seen) in [(100, true), (101, false)] {
        let due_at = Utc::now() - TimeDelta::hours(hours);
        let failed = fleet.run(pipeline, FleetRun::failed(due_at, 600)).await;
        fleet.learn().await;
        if !is_seen {
            fleet.execute("delete from run_samples where due_at = $1", due_at).await;
            fleet.task_run(failed, "load", "failed", Some(600)).await;
        }
        let queued = FleetRun { started: None, ended: None, status: "queued", due_at };
        fleet.run(pipeline, queued).await;
        fleet.execute("update runs set queued_at = $1 where status = 'queued'", Utc::now()).await;
        fleet.execute("update task_runs set started_at = ended_at where ended_at < $1", Utc::now()).await;
        assert_eq!(fleet.incidents().await, [""; 0], "queued");
        let started = Some(hours * 3_600 - 60);
        fleet.run(pipeline, FleetRun { started, status: "running", ..queued }).await;
        assert_eq!(fleet.incidents().await, [""; 0], "running");
    }
    // The same run, if it had not run before.
    fleet.execute("delete from task_runs where ended_at < $1", Utc::now()).await;
    assert_eq!(fleet.incidents().await, ["late_finish open 1"]);
}

#[tokio::test]
async fn the_incidents_of_a_connector_that_is_switched_off_last_until_it_is_seen_again() {
    let (fleet, pipeline) = learned_fleet().await;
    let ago = |minutes| Utc::now() - TimeDelta::minutes(minutes);
    let failing = fleet.pipeline("stock").await;
    fleet.run(failing, FleetRun::failed(ago(50), 60)).await;
    fleet.run(pipeline, FleetRun::running(ago(40))).await;
    fleet.execute("update pipelines set next_run_at = $1 where name = 'sales'", ago(30)).await;
    let open = ["failing open 1", "late_start open 1", "slow open 1"];
    assert_eq!(incidents(&fleet).await, open);
    fleet.execute("update connectors set is_active = false, updated_at = $1", Utc::now()).await;
    assert_eq!(incidents(&fleet).await, open);
    fleet.see_at(ago(600)).await;
    assert_eq!(incidents(&fleet).await, open, "it is not stale, because nobody looks");

    fleet.execute("update connectors set is_active = true, updated_at = $1", Utc::now()).await;
    fleet.see_at(Utc::now()).await;
    fleet.execute("update pipelines set next_run_at = $1", Utc::now() + TimeDelta::hours(1)).await;
    fleet.run(failing, FleetRun::success(ago(50), 60)).await;
    let late = ["failing resolved 1", "late_start resolved 1", "slow open 1"];
    assert_eq!(incidents(&fleet).await, late);
}

#[tokio::test]
async fn the_incidents_of_a_connector_that_is_deleted_are_over() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.run(pipeline, FleetRun::failed(Utc::now() - TimeDelta::hours(1), 60)).await;
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
    fleet.execute("update connectors set is_active = false, deleted_at = $1", Utc::now()).await;
    assert_eq!(fleet.incidents().await, ["failing resolved 1"]);
}
