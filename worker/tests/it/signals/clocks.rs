//! The wall clock of a schedule's zone: classes, limits and sentences follow it, over changes of daylight
//! saving in both directions.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use contract::ids::PipelineId;
use worker::signals::Backtest;

use crate::fleet::{Fleet, FleetRun};

const ZONE: &str = "Europe/Berlin";

impl Fleet {
    async fn set_zone(&self, pipeline: PipelineId, zone: &str) {
        sqlx::query(
            "update pipelines set provider_metadata = jsonb_build_object('timezone', $2::text) where id = $1",
        )
        .bind(pipeline)
        .bind(zone)
        .execute(&self.owner)
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn classes_follow_the_wall_clock_over_both_changes_of_daylight_saving() {
    let fleet = Fleet::new().await;
    let class = async |at: &str| -> Vec<(String, i32)> {
        let at: DateTime<Utc> = at.parse().unwrap();
        sqlx::query_as("select class, class_key from expectation_class_keys($1, 'Europe/Berlin')")
            .bind(at)
            .fetch_all(&fleet.pool)
            .await
            .unwrap()
    };
    // Five o'clock in Berlin, on the Fridays around the last Sunday of March and of October.
    let winter = class("2026-03-27T04:00:00Z").await;
    assert_eq!(winter[0], ("hour_of_week".to_owned(), 4 * 24 + 5));
    assert_eq!(winter[1], ("day_kind_hour".to_owned(), 5));
    assert_eq!(class("2026-04-03T03:00:00Z").await, winter);
    assert_eq!(class("2026-10-23T03:00:00Z").await, winter);
    assert_eq!(class("2026-10-30T04:00:00Z").await, winter);
    // The hour that the clock skips, and the one that it repeats.
    let sunday = |hour| ("hour_of_week".to_owned(), 6 * 24 + hour);
    assert_eq!(class("2026-03-29T00:59:00Z").await[0], sunday(1));
    assert_eq!(class("2026-03-29T01:00:00Z").await[0], sunday(3));
    assert_eq!(class("2026-10-25T00:30:00Z").await[0], sunday(2));
    assert_eq!(class("2026-10-25T01:30:00Z").await[0], sunday(2));
    assert_eq!(class("2026-10-25T02:30:00Z").await[0], sunday(3));
}

#[tokio::test]
async fn classes_have_the_time_zone_that_the_provider_names() {
    let fleet = Fleet::new().await;
    for (name, zone) in [("berlin", "Europe/Berlin"), ("odd", "Mars/Olympus"), ("utc", "UTC")] {
        let pipeline = fleet.pipeline(name).await;
        fleet.set_zone(pipeline, zone).await;
        fleet.history(pipeline, 1).await;
    }
    fleet.learn().await;
    let zones: Vec<String> = sqlx::query_scalar(
        "select e.zone from expectations e join pipelines p on p.id = e.pipeline_id order by p.name",
    )
    .fetch_all(&fleet.owner)
    .await
    .unwrap();
    assert_eq!(zones, ["Europe/Berlin", "UTC", "UTC"]);
}

/// Inserts hourly runs on the days around a change of the clock in Berlin. Before six o'clock there, they
/// start ten minutes later and take twenty minutes longer.
async fn runs_over_change(fleet: &Fleet, pipeline: PipelineId, change: NaiveDate) {
    let begin = (change - TimeDelta::days(25)).and_hms_opt(0, 0, 0).unwrap();
    sqlx::query(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, run_type, run_after, queued_at, started_at,
             ended_at, conf)
         select gen_random_uuid(), space_id, connector_id, id, 'airflow', n::text, 1, '', 0, now(), 'success',
             'scheduled', due_at, due_at, start.at, start.at + night.minutes * interval '2 minutes', '{}'
         from pipelines, generate_series(0, 30 * 24) as n
         cross join lateral (select ($2::timestamp + n * interval '1 hour') at time zone 'UTC' as due_at) due
         cross join lateral (
             select case when extract(hour from due_at at time zone $3) < 6 then 11 else 1 end
                 + (n + n / 24) % 3 as minutes) night
         cross join lateral (select due_at + night.minutes * interval '1 minute' as at) start
         where id = $1",
    )
    .bind(pipeline)
    .bind(begin)
    .bind(ZONE)
    .execute(&fleet.owner)
    .await
    .unwrap();
}

/// How many of the runs after the change were slow, started late and ended late.
async fn signals_after(change: NaiveDate, zone: &str) -> [usize; 3] {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.set_zone(pipeline, zone).await;
    runs_over_change(&fleet, pipeline, change).await;
    let since = change.and_hms_opt(4, 0, 0).unwrap().and_utc();
    let mut backtest = Backtest::begin(&fleet.owner, 30.0).await.unwrap().unwrap();
    let judged = backtest.replay(pipeline, since).await.unwrap();
    backtest.end().await.unwrap();
    assert!(judged.len() > 100 && judged.iter().all(|run| run.expected.is_some()));
    let count = |is: fn(&worker::signals::JudgedRun) -> bool| judged.iter().filter(|run| is(run)).count();
    [count(|run| run.is_slow), count(|run| run.is_late_start), count(|run| run.is_late_finish)]
}

#[tokio::test]
async fn runs_are_usual_by_the_clock_of_their_zone_after_both_changes_of_daylight_saving() {
    for (month, day) in [(3, 29), (10, 25)] {
        let change = NaiveDate::from_ymd_opt(2026, month, day).unwrap();
        assert_eq!(signals_after(change, ZONE).await, [0; 3], "{change}");
        // By a clock that does not change, an hour of the night is one that was in the day before.
        let by_utc = signals_after(change, "UTC").await;
        assert!(by_utc.iter().all(|count| *count > 0), "{change}: {by_utc:?}");
    }
}

#[tokio::test]
async fn a_summary_has_the_time_of_the_schedule_s_clock() {
    let fleet = Fleet::new().await;
    let pipeline = fleet.pipeline("sales").await;
    fleet.set_zone(pipeline, "Asia/Tokyo").await;
    fleet.history(pipeline, 30).await;
    let due_at = Utc::now() - TimeDelta::minutes(5);
    fleet.execute("update pipelines set next_run_at = $1", due_at).await;
    assert_eq!(fleet.incidents().await, ["late_start open 1"]);
    let clock = (due_at + TimeDelta::hours(9)).format("%H:%M on %-d %B (Asia/Tokyo)");
    let summary = fleet.described().await.0;
    assert!(summary.starts_with(&format!("sales was due at {clock} and had not started ")), "{summary}");

    fleet.run(pipeline, FleetRun { ended: Some(60), status: "failed", ..FleetRun::running(due_at) }).await;
    fleet.execute("delete from incidents where opened_at < $1", Utc::now()).await;
    fleet.execute("update pipelines set next_run_at = $1", Utc::now() + TimeDelta::hours(1)).await;
    assert_eq!(fleet.incidents().await, ["failing open 1"]);
    let clock = (due_at + TimeDelta::hours(9) + TimeDelta::minutes(1)).format("%H:%M on %-d %B (Asia/Tokyo)");
    assert_eq!(fleet.described().await.0, format!("sales failed at {clock}"));
}
