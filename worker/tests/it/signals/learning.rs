//! Which runs expectations are learned from: regular ones, of so many days, and how many of them.

use chrono::{DateTime, TimeDelta, Utc};
use contract::ids::{PipelineId, RunId};
use worker::expectations;

use super::{expected, learned_fleet};
use crate::fleet::{Fleet, FleetRun, this_hour};

impl Fleet {
    /// Sets the time at which a run was queued to its start.
    async fn queue_at_start(&self, run: RunId) {
        sqlx::query("update runs set queued_at = started_at where id = $1")
            .bind(run)
            .execute(&self.owner)
            .await
            .unwrap();
    }

    /// Inserts a run that took 50 minutes, and was slow.
    async fn slow_run(&self, pipeline: PipelineId, due_at: DateTime<Utc>) {
        let run = self.run(pipeline, FleetRun::success(due_at, 3_000)).await;
        sqlx::query("insert into signals (pipeline_id, kind, occurrence) values ($1, 'slow', $2)")
            .bind(pipeline)
            .bind(run.to_string())
            .execute(&self.owner)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn expectations_are_learned_from_regular_successful_runs() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.history(pipeline, 7).await;
    fleet.learn().await;
    assert_eq!(expected(&fleet, pipeline).await, None, "seven runs are not enough");

    fleet.history(pipeline, 40).await;
    let at = |hours| this_hour() - TimeDelta::hours(hours);
    fleet.run(pipeline, FleetRun::failed(at(2), 5_000)).await;
    fleet.run(pipeline, FleetRun::success(at(50), 610)).await;
    // Created when the next run was due already, as a scheduler that catches up does.
    let caught_up = FleetRun { started: Some(7_200), ..FleetRun::success(at(51), 20_000) };
    let caught_up = fleet.run(pipeline, caught_up).await;
    fleet.queue_at_start(caught_up).await;
    fleet.learn().await;
    let all = "select count(*) from expectation_classes where class = 'all' and runs = 41
        and duration_p50_seconds between 600 and 624 and slow_after_seconds between 740 and 800";
    assert_eq!(fleet.count(all).await, 1);
    assert_eq!(expectations::learn_changed(&fleet.pool).await.unwrap(), 0, "nothing has changed");
}

/// How many runs the class of all was learned from.
async fn learned_runs(fleet: &Fleet) -> i64 {
    fleet.learn().await;
    fleet.count("select coalesce(max(runs), 0)::bigint from expectation_classes where class = 'all'").await
}

#[tokio::test]
async fn a_run_whose_tasks_were_retried_is_learned_and_one_that_was_cleared_is_not() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    let at = |hours| this_hour() - TimeDelta::hours(hours);
    for hours in 4..14 {
        let run = fleet.run(pipeline, FleetRun::success(at(hours), 600)).await;
        fleet.task_run(run, "load", "success", Some(600)).await;
        fleet.execute("update task_runs set try_number = 2, started_at = $1", Utc::now()).await;
    }
    assert_eq!(learned_runs(&fleet).await, 10);

    // It has failed, and was cleared: it starts after it had ended.
    fleet.run(pipeline, FleetRun::failed(at(3), 600)).await;
    assert_eq!(learned_runs(&fleet).await, 10);
    let again = FleetRun { started: Some(700), ended: Some(1_300), ..FleetRun::success(at(3), 0) };
    fleet.run(pipeline, again).await;
    assert_eq!(learned_runs(&fleet).await, 10);

    // One whose clearing was not seen. The tasks are stored later, and the next run is seen then.
    let cleared = FleetRun { started: Some(300), ended: Some(600), ..FleetRun::success(at(2), 0) };
    let cleared = fleet.run(pipeline, cleared).await;
    fleet.queue_at_start(cleared).await;
    assert_eq!(learned_runs(&fleet).await, 11);
    fleet.task_run(cleared, "extract", "success", Some(100)).await;
    fleet.execute("update task_runs set started_at = $1 where task_id = 'extract'", at(2)).await;
    fleet.run(pipeline, FleetRun::running(at(1))).await;
    assert_eq!(learned_runs(&fleet).await, 10);
}

#[tokio::test]
async fn what_ran_because_its_pipeline_was_resumed_is_not_learned() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.history(pipeline, 30).await;
    let due_at = this_hour() - TimeDelta::hours(2);
    let late = FleetRun { started: Some(1_800), ended: Some(2_400), ..FleetRun::success(due_at, 0) };
    let late = fleet.run(pipeline, late).await;
    fleet.queue_at_start(late).await;
    let resumed_at = due_at + TimeDelta::seconds(1_830);
    fleet.execute("insert into pipeline_resumptions select id, $1 from pipelines", resumed_at).await;
    assert_eq!(learned_runs(&fleet).await, 30);
}

#[tokio::test]
async fn what_is_older_than_42_days_is_not_learned() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    let limit = Utc::now() - TimeDelta::days(42);
    for n in 1..=8 {
        fleet.run(pipeline, FleetRun::success(limit + TimeDelta::minutes(10 + n), 300)).await;
        fleet.run(pipeline, FleetRun::success(limit - TimeDelta::minutes(n), 900)).await;
    }
    assert_eq!(learned_runs(&fleet).await, 8);
    let newer = "select count(*) from expectation_classes where duration_p95_seconds = 300 and class = 'all'";
    assert_eq!(fleet.count(newer).await, 1);
}

#[tokio::test]
async fn the_200_newest_runs_of_a_class_are_learned() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.hourly(pipeline, this_hour(), "case when n > 200 then 900 else 300 end").await;
    assert_eq!(learned_runs(&fleet).await, 200);
    let newest =
        "select count(*) from expectation_classes where duration_p95_seconds = 300 and class = 'all'";
    assert_eq!(fleet.count(newest).await, 1);
}

#[tokio::test]
async fn five_slow_runs_in_a_row_are_a_change_of_regime() {
    let (fleet, pipeline) = learned_fleet().await;
    fleet.learn().await;
    for n in 0..5 {
        let due_at = this_hour() - TimeDelta::hours(2) + TimeDelta::minutes(n);
        fleet.slow_run(pipeline, due_at).await;
        fleet.learn().await;
        let flagged = "select count(*) from run_samples where is_flagged";
        assert_eq!(fleet.count(flagged).await, if n < 4 { n + 1 } else { 0 });
    }
    let limit = expected(&fleet, pipeline).await.unwrap().3;
    assert!(limit > 3_000.0, "{limit}");
    assert_eq!(fleet.count("select count(*) from expectations where slow_run_id is not null").await, 0);
}

#[tokio::test]
async fn after_a_change_of_regime_14_days_are_learned() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    let ago = |days, hours| this_hour() - TimeDelta::days(days) - TimeDelta::hours(hours);
    for n in 0..10 {
        fleet.run(pipeline, FleetRun::success(ago(20, n), 600)).await;
        fleet.run(pipeline, FleetRun::success(ago(13, n), 600)).await;
    }
    assert_eq!(learned_runs(&fleet).await, 20);
    for n in 0..5 {
        fleet.slow_run(pipeline, ago(0, 6 - n)).await;
        assert_eq!(learned_runs(&fleet).await, if n < 4 { 20 } else { 15 });
    }
    // What is learned later is not older, either.
    fleet.run(pipeline, FleetRun::success(ago(0, 1), 3_000)).await;
    assert_eq!(learned_runs(&fleet).await, 16);
}
