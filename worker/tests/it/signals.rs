//! Expectations, signals and incidents, from rows of the read model.

mod clocks;
mod failures;
mod learning;
mod limits;
mod unseen;

use chrono::{TimeDelta, Utc};
use contract::ids::PipelineId;
use contract::state::IncidentKind;
use serde_json::Value;
use worker::signals::{Backtest, JudgedRun, Transitions};

use crate::fleet::{Fleet, FleetRun, this_hour};

impl Fleet {
    /// The summary and the evidence of the only incident.
    async fn described(&self) -> (String, Value) {
        sqlx::query_as("select summary, evidence from incidents").fetch_one(&self.owner).await.unwrap()
    }
}

/// The class, number of runs, median and limit that a run that is due now is compared with.
async fn expected(fleet: &Fleet, pipeline: PipelineId) -> Option<(String, i32, f64, f64)> {
    sqlx::query_as(
        "select class, runs, duration_p50_seconds, slow_after_seconds from expectation_at($1, now())",
    )
    .bind(pipeline)
    .fetch_optional(&fleet.owner)
    .await
    .unwrap()
}

/// A fleet with a pipeline that has run often enough.
async fn learned_fleet() -> (Fleet, PipelineId) {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.history(pipeline, 30).await;
    (fleet, pipeline)
}

#[tokio::test]
async fn a_slow_run_opens_one_incident_until_a_run_is_as_usual() {
    let (fleet, pipeline) = learned_fleet().await;
    let began = Utc::now() - TimeDelta::seconds(400);
    fleet.run(pipeline, FleetRun::running(began)).await;
    assert_eq!(fleet.incidents().await, [""; 0], "not yet slow");
    let began = Utc::now() - TimeDelta::seconds(900);
    fleet.run(pipeline, FleetRun::running(began)).await;
    assert_eq!(fleet.incidents().await, ["slow open 1"]);
    assert!(fleet.evaluate().await.opened.is_empty(), "a repetition changes nothing");
    let events = "select count(*) from outbox where topic = '\"orchestration.incidents.v1\"'";
    assert_eq!(fleet.count(events).await, 1);

    fleet.run(pipeline, FleetRun { ended: Some(890), status: "success", ..FleetRun::running(began) }).await;
    assert_eq!(fleet.incidents().await, ["slow open 1"], "the latest finished run was slow");
    let sample = "select count(*) from run_samples where is_flagged";
    assert_eq!(fleet.count(sample).await, 1, "a slow run does not train");
    let usual = Utc::now() - TimeDelta::seconds(300);
    fleet.execute("delete from runs where status = 'running' and $1 is not null", usual).await;
    fleet.run(pipeline, FleetRun::success(usual, 290)).await;
    assert_eq!(fleet.incidents().await, ["slow resolved 1"]);
    assert_eq!(fleet.transitions().await, ["slow opened", "slow resolved"]);
    assert_eq!(fleet.count(events).await, 2);
}

#[tokio::test]
async fn a_missed_start_is_late_once_a_poll_could_have_seen_it() {
    let (fleet, pipeline) = learned_fleet().await;
    let now = Utc::now();
    fleet.see_at(now).await;
    let due = |seconds| now - TimeDelta::seconds(seconds);
    fleet.execute("update pipelines set next_run_at = $1", due(50)).await;
    assert_eq!(fleet.incidents().await, [""; 0], "due for less than a poll's interval");
    let due_at = due(70);
    fleet.execute("update pipelines set next_run_at = $1", due_at).await;
    assert_eq!(fleet.incidents().await, ["late_start open 1"]);
    // The run is there, and waits; and then it starts.
    fleet.run(pipeline, FleetRun { started: None, status: "queued", ..FleetRun::running(due_at) }).await;
    fleet.execute("update pipelines set next_run_at = $1", now + TimeDelta::hours(1)).await;
    assert_eq!(fleet.incidents().await, ["late_start open 1"]);
    fleet.run(pipeline, FleetRun { started: Some(69), ..FleetRun::running(due_at) }).await;
    assert_eq!(fleet.incidents().await, ["late_start resolved 1"]);
}

#[tokio::test]
async fn nothing_is_due_of_pipelines_that_are_paused_or_gone() {
    for change in [
        "update pipelines set is_paused = $1 is not null",
        "update pipelines set is_active = $1 is null",
        "update pipelines set deleted_at = $1",
    ] {
        let (fleet, _) = learned_fleet().await;
        fleet.execute("update pipelines set next_run_at = $1", Utc::now() - TimeDelta::minutes(30)).await;
        assert_eq!(fleet.incidents().await, ["late_start open 1"]);
        fleet.execute(change, Utc::now()).await;
        assert_eq!(fleet.incidents().await, ["late_start resolved 1"], "{change}");
    }
}

#[tokio::test]
async fn a_run_of_a_paused_pipeline_is_slow_and_never_late() {
    let (fleet, pipeline) = learned_fleet().await;
    let due = |seconds| Utc::now() - TimeDelta::seconds(seconds);
    fleet.run(pipeline, FleetRun { started: None, status: "queued", ..FleetRun::running(due(500)) }).await;
    fleet.run(pipeline, FleetRun { started: Some(500), ..FleetRun::running(due(1_000)) }).await;
    fleet.run(pipeline, FleetRun::running(due(2_000))).await;
    let mut incidents = fleet.incidents().await;
    incidents.sort();
    assert_eq!(incidents, ["late_start open 1", "slow open 1"], "a late end has the same cause");
    fleet.execute("update pipelines set is_paused = true where first_seen_at < $1", Utc::now()).await;
    let mut incidents = fleet.incidents().await;
    incidents.sort();
    assert_eq!(incidents, ["late_start resolved 1", "slow open 1"]);
}

#[tokio::test]
async fn a_run_that_starts_late_and_takes_as_long_as_usual_ends_late() {
    let (fleet, pipeline) = learned_fleet().await;
    let due_at = Utc::now() - TimeDelta::seconds(1_000);
    fleet.run(pipeline, FleetRun { started: Some(500), ..FleetRun::running(due_at) }).await;
    assert_eq!(fleet.incidents().await, ["late_finish open 1"]);
    fleet
        .run(pipeline, FleetRun { started: Some(500), ended: Some(990), ..FleetRun::success(due_at, 0) })
        .await;
    assert_eq!(fleet.incidents().await, ["late_finish resolved 1"]);
}

#[tokio::test]
async fn failures_in_a_row_are_one_incident_and_the_same_failure_opens_it_again() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    let at = |hours| this_hour() - TimeDelta::hours(hours);
    fleet.run(pipeline, FleetRun::success(at(9), 10)).await;
    assert_eq!(fleet.incidents().await, [""; 0]);
    fleet.run(pipeline, FleetRun::failed(at(8), 10)).await;
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
    fleet.run(pipeline, FleetRun::failed(at(7), 10)).await;
    fleet.run(pipeline, FleetRun::failed(at(6), 10)).await;
    assert_eq!(fleet.incidents().await, ["failing open 3"]);
    // A failed run that is executed again, and succeeds, is the latest finished one.
    fleet.run(pipeline, FleetRun::success(at(6), 10)).await;
    assert_eq!(fleet.incidents().await, ["failing resolved 3"]);
    fleet.run(pipeline, FleetRun::failed(at(6), 10)).await;
    assert_eq!(fleet.incidents().await, ["failing open 3"]);
    let recorded = fleet.transitions().await;
    assert_eq!(recorded, ["failing opened", "failing counted", "failing resolved", "failing reopened"]);
}

#[tokio::test]
async fn a_stale_connector_is_one_incident_and_nothing_of_it_is_late_or_well() {
    let (fleet, pipeline) = learned_fleet().await;
    fleet.run(pipeline, FleetRun::running(Utc::now() - TimeDelta::seconds(3_000))).await;
    assert_eq!(fleet.incidents().await, ["slow open 1"]);
    fleet.see_at(Utc::now() - TimeDelta::minutes(20)).await;
    let other = fleet.pipeline("stock").await;
    fleet.history(other, 30).await;
    fleet.execute("update pipelines set next_run_at = $1", Utc::now() - TimeDelta::hours(1)).await;
    // Not seen any more: neither is it well, nor is another pipeline late.
    let both = ["connector_stale open 1", "slow open 1"];
    assert_eq!(fleet.incidents().await, both);
    assert_eq!(fleet.incidents().await, both);
    fleet.see_at(Utc::now()).await;
    let seen = fleet.incidents().await;
    assert!(seen.contains(&"connector_stale resolved 1".to_owned()), "{seen:?}");
    assert!(seen.contains(&"late_start open 1".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn one_worker_at_a_time_evaluates() {
    let (fleet, pipeline) = learned_fleet().await;
    fleet.run(pipeline, FleetRun::running(Utc::now() - TimeDelta::seconds(3_000))).await;
    fleet.learn().await;
    let mut other = fleet.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(i64::from_be_bytes(*b"\0\0signal"))
        .execute(&mut *other)
        .await
        .unwrap();
    assert_eq!(fleet.evaluate().await, Transitions::default());
    assert_eq!(fleet.transitions().await, [""; 0]);
    other.rollback().await.unwrap();
    assert_eq!(fleet.evaluate().await.opened, [IncidentKind::Slow]);
    assert_eq!(fleet.transitions().await, ["slow opened"]);
}

#[tokio::test]
async fn a_backtest_judges_by_what_was_known_and_changes_nothing() {
    let (fleet, pipeline) = learned_fleet().await;
    let at = |hours| this_hour() - TimeDelta::hours(hours);
    fleet.run(pipeline, FleetRun::failed(at(2), 3_000)).await;
    fleet
        .run(pipeline, FleetRun { started: Some(1_200), ended: Some(1_800), ..FleetRun::success(at(1), 0) })
        .await;
    fleet.learn().await;
    let classes = "select sum(runs)::bigint from expectation_classes";
    let before = fleet.count(classes).await;
    let mut backtest = Backtest::begin(&fleet.owner, 60.0).await.unwrap().unwrap();
    let since = Utc::now() - TimeDelta::days(3);
    let pipelines = backtest.find_pipelines(since).await.unwrap();
    assert_eq!(pipelines.iter().map(|it| it.id).collect::<Vec<_>>(), [pipeline]);
    let judged = backtest.replay(pipeline, since).await.unwrap();
    backtest.end().await.unwrap();
    assert_eq!(judged.len(), 32);
    assert!(judged[..8].iter().all(|run| run.expected.is_none()), "nothing was known");
    assert!(judged[8..].iter().all(|run| run.expected.is_some()));
    let flagged = |is: fn(&JudgedRun) -> bool| judged.iter().filter(|run| is(run)).count();
    assert_eq!(flagged(|run| run.is_slow), 1);
    assert_eq!(flagged(|run| run.is_late_start), 1);
    assert!(judged[30].is_slow && judged[31].is_late_start);
    assert_eq!(fleet.count(classes).await, before);
}
