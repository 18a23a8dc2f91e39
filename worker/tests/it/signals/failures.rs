//! Incidents of failures: which ones are opened, and the task that is named as the cause.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::fleet::{Fleet, FleetRun, this_hour};

#[tokio::test]
async fn a_failing_incident_names_the_task_that_failed_first() {
    let fleet = Fleet::new().await;
    let (pipeline, hour) = (fleet.pipeline("sales").await, this_hour());
    let failed = fleet.run(pipeline, FleetRun::failed(hour, 60)).await;
    fleet.task_run(failed, "extract", "success", Some(5)).await;
    fleet.task_run(failed, "check", "failed", Some(30)).await;
    let load = fleet.task_run(failed, "load", "failed", Some(20)).await;
    for task in ["clean", "join", "publish", "report", "mail"] {
        fleet.task_run(failed, task, "upstream_failed", Some(31)).await;
    }
    assert_eq!(fleet.incidents().await, ["failing open 1"], "they are one");
    let (summary, evidence) = fleet.described().await;
    let failed_at = (hour + TimeDelta::seconds(62)).format("%H:%M UTC on %-d %B");
    assert_eq!(summary, format!("sales failed at {failed_at}; the first task that failed is load"));
    assert_eq!(
        evidence["first_failed_task"],
        json!({
            "task_run_id": load, "task_id": "load", "map_index": -1,
            "ended_at": hour + TimeDelta::seconds(20),
        })
    );
    assert_eq!((&evidence["failed_tasks"], &evidence["upstream_failed_tasks"]), (&json!(2), &json!(5)));
}

#[tokio::test]
async fn tasks_that_are_stored_after_their_run_are_added_without_being_counted() {
    let fleet = Fleet::new().await;
    let (pipeline, hour) = (fleet.pipeline("sales").await, this_hour());
    let failed = fleet.run(pipeline, FleetRun::failed(hour, 60)).await;
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
    assert_eq!(fleet.described().await.1["first_failed_task"], Value::Null);
    fleet.task_run(failed, "check", "failed", Some(30)).await;
    fleet.incidents().await;
    assert_eq!(fleet.described().await.1["first_failed_task"]["task_id"], "check");
    fleet.task_run(failed, "load", "failed", Some(20)).await;
    for _ in 0..2 {
        assert_eq!(fleet.incidents().await, ["failing open 1"]);
        assert_eq!(fleet.described().await.1["first_failed_task"]["task_id"], "load");
    }
    assert_eq!(fleet.transitions().await, ["failing opened"]);
    let events = "select count(*) from outbox where topic = '\"orchestration.incidents.v1\"'";
    assert_eq!(fleet.count(events).await, 3, "one of each change");

    // Those of a further failure replace them.
    let at = hour + TimeDelta::seconds(1);
    let further = fleet.run(pipeline, FleetRun::failed(at, 60)).await;
    fleet.task_run(further, "extract", "failed", Some(10)).await;
    assert_eq!(fleet.incidents().await, ["failing open 2"]);
    let (summary, evidence) = fleet.described().await;
    assert!(summary.contains("2 times in a row"), "{summary}");
    assert_eq!(evidence["first_failed_task"]["task_id"], "extract");
    assert_eq!(evidence["failed_tasks"], 1);
}

#[tokio::test]
async fn a_failure_of_long_before_the_pipeline_was_known_opens_no_incident() {
    let fleet = Fleet::new().await;
    let (old, recent) = (fleet.pipeline("old").await, fleet.pipeline("recent").await);
    let ago = |hours| Utc::now() - TimeDelta::hours(hours);
    fleet.run(old, FleetRun::failed(ago(25), 10)).await;
    fleet.run(recent, FleetRun::failed(ago(23), 10)).await;
    let opened = "select string_agg(p.name, ' ') from incidents i join pipelines p on p.id = i.pipeline_id";
    let opened =
        async || -> Option<String> { sqlx::query_scalar(opened).fetch_one(&fleet.owner).await.unwrap() };
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
    assert_eq!(opened().await.as_deref(), Some("recent"));

    // It fails again, so that it fails now.
    fleet.run(old, FleetRun::failed(ago(1), 10)).await;
    fleet.execute("delete from incidents where opened_at < $1", Utc::now()).await;
    fleet.execute("update expectations set failed_run_id = null where failed_at < $1", ago(2)).await;
    let incidents = fleet.incidents().await;
    assert_eq!(incidents, ["failing open 2"]);
    assert_eq!(opened().await.as_deref(), Some("old"));
}

#[tokio::test]
async fn a_failure_is_reported_however_late_it_is_seen_and_its_incident_stays() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    let ago = |days| Utc::now() - TimeDelta::days(days);
    fleet.run(pipeline, FleetRun::success(ago(9), 10)).await;
    fleet.learn().await;
    fleet.execute("update expectations set watched_from = $1", ago(8)).await;
    fleet.run(pipeline, FleetRun::failed(ago(7), 10)).await;
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
    // As after a rebuild of the expectations.
    fleet.execute("update expectations set watched_from = $1", Utc::now()).await;
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
}

#[tokio::test]
async fn failures_are_counted_beyond_the_hundred_that_are_looked_at() {
    let fleet = Fleet::new().await;
    let (pipeline, begin) = (fleet.pipeline("sales").await, this_hour() - TimeDelta::days(7));
    let at = |n| begin + TimeDelta::minutes(n);
    for n in 0..99 {
        fleet.run(pipeline, FleetRun::failed(at(n), 10)).await;
    }
    fleet.learn().await;
    fleet.execute("update expectations set watched_from = $1", begin).await;
    assert_eq!(fleet.incidents().await, ["failing open 99"]);
    let first = fleet.described().await.1;
    for (n, count) in [(99, 100), (100, 101), (101, 102)] {
        fleet.run(pipeline, FleetRun::failed(at(n), 10)).await;
        assert_eq!(fleet.incidents().await, [format!("failing open {count}")]);
    }
    fleet.run(pipeline, FleetRun::failed(at(102), 10)).await;
    fleet.run(pipeline, FleetRun::failed(at(103), 10)).await;
    for _ in 0..2 {
        assert_eq!(fleet.incidents().await, ["failing open 104"]);
    }
    let (summary, evidence) = fleet.described().await;
    let clock = (begin + TimeDelta::seconds(12)).format("%H:%M UTC on %-d %B");
    assert_eq!(summary, format!("sales failed 104 times in a row, first at {clock}"));
    assert_eq!(evidence["failures"], 104);
    for field in ["first_failed_run_id", "first_failed_at"] {
        assert_eq!(evidence[field], first[field]);
    }
}
