//! The sums over runs that lists are sorted by are those of a plain count, whatever happened to the runs; and
//! writers of runs of one pipeline do not wait for each other.

use std::collections::BTreeMap;
use std::time::Duration;

use api::store::pipelines::{MetricsWindow, WindowSums};
use contract::ids::{PipelineId, SpaceId};
use platform::pipeline_metrics;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, QueryBuilder, Row};

use crate::app::{SPACE, TestApi};
use crate::seed::hours_ago;

const STATES: [&str; 5] = ["success", "failed", "running", "queued", "unknown"];
/// Two windows whose sums are stored, the default one, and two of other lengths.
const WINDOWS: [i32; 5] = [1, 7, 30, 3, 45];

/// What a list of pipelines is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    failed_count: i64,
    success_rate: Option<f64>,
    avg_duration: Option<f64>,
}

impl Sums {
    fn of(row: &PgRow) -> Self {
        Self {
            failed_count: row.get("failed"),
            success_rate: row.get("rate"),
            avg_duration: row.get("duration"),
        }
    }

    fn key(self, sort: &str) -> Option<f64> {
        match sort {
            "failed_count" => Some(self.failed_count as f64),
            "success_rate" => self.success_rate,
            _ => self.avg_duration,
        }
    }
}

/// Counts the runs themselves.
async fn count(test: &TestApi, days: i32, include_deleted: bool) -> BTreeMap<String, Sums> {
    let rows = sqlx::query(AssertSqlSafe(format!(
        "select p.id::text, count(r.id) filter (where r.status = 'failed') as failed,
             (count(r.id) filter (where r.status = 'success'))::float8
                 / nullif(count(r.id) filter (where r.status in ('success', 'failed')), 0) as rate,
             avg(r.duration_seconds) filter (where r.status in ('success', 'failed')) as duration
         from pipelines p left join runs r on r.pipeline_id = p.id
             and r.counted_at >= now() - {days} * interval '24 hours'
             and ({include_deleted} or r.deleted_at is null)
         group by p.id"
    )))
    .fetch_all(&test.db)
    .await
    .unwrap();
    rows.iter().map(|row| (row.get("id"), Sums::of(row))).collect()
}

/// Reads the sums of pipelines with finished runs as a list does, whichever way it reads the first day.
async fn read(test: &TestApi, window: MetricsWindow, is_first_day_whole: bool) -> BTreeMap<String, Sums> {
    let space = SpaceId(test.id("select id from spaces where slug = 'finance'").await);
    let mut sql = QueryBuilder::new(
        "select p.id::text, sums.failed_count::int8 as failed, sums.success_count::float8
             / nullif(sums.success_count + sums.failed_count, 0)::float8 as rate,
             (sums.duration_sum / nullif(sums.durations, 0))::float8 as duration from pipelines p",
    );
    WindowSums { space, window, is_first_day_whole }.push(&mut sql);
    sql.push(" where sums.success_count + sums.failed_count > 0");
    let rows = sql.build().fetch_all(&test.db).await.unwrap();
    rows.iter().map(|row| (row.get("id"), Sums::of(row))).collect()
}

/// Asserts that the list in each order is ordered by the counted values, and shows them.
async fn assert_sorted(test: &TestApi, days: i32, include_deleted: bool) {
    let counted = count(test, days, include_deleted).await;
    for is_first_day_whole in [false, true] {
        let sums = read(test, MetricsWindow { days, include_deleted }, is_first_day_whole).await;
        let finished = counted.iter().filter(|(_, sums)| sums.success_rate.is_some());
        let are_equal = |a: &Sums, b: &Sums| {
            let duration = a.avg_duration.zip(b.avg_duration).map(|(a, b)| (a - b).abs());
            (a.failed_count, a.success_rate) == (b.failed_count, b.success_rate)
                && duration.is_none_or(|difference| difference < 1e-6)
        };
        assert_eq!(sums.len(), finished.clone().count(), "{days} days, first whole: {is_first_day_whole}");
        for (id, expected) in finished {
            assert!(are_equal(&sums[id], expected), "{days} days: {:?} is not {expected:?}", sums[id]);
        }
    }
    for sort in ["failed_count", "success_rate", "avg_duration"] {
        let path = format!("/pipelines?sort=-{sort}&days={days}&include_deleted={include_deleted}");
        let list = test.read(&path).await;
        let pipelines = list.as_array().unwrap();
        assert_eq!(pipelines.len(), counted.len());
        let keys: Vec<_> = pipelines.iter().map(|p| counted[p["id"].as_str().unwrap()].key(sort)).collect();
        // Nulls last, and sums in another order of addition may differ in the last digits.
        let descends = keys.windows(2).all(|pair| match (pair[0], pair[1]) {
            (Some(first), Some(second)) => first >= second - 1e-9,
            (first, second) => first.is_some() || second.is_none(),
        });
        assert!(descends, "{path}: {keys:?}");
        for pipeline in pipelines {
            let expected = counted[pipeline["id"].as_str().unwrap()];
            assert_eq!(pipeline["metrics"]["failed_count"], expected.failed_count, "{path}");
        }
    }
}

/// Asserts that the stored counts of spaces and the changes are together what a count gives.
async fn assert_counts_of_spaces(test: &TestApi) {
    let spaces = "with stored as (
            select space_id, status, is_deleted, sum(n) as n
            from (select * from space_run_counts union all
                select space_id, status, is_deleted, n from run_changes) c
            group by 1, 2, 3 having sum(n) <> 0),
        counted as (
            select space_id, status, deleted_at is not null as is_deleted, count(*) as n from runs
            group by 1, 2, 3)
        select count(*) from (
            (table stored except table counted) union all (table counted except table stored)) d";
    assert_eq!(test.number(spaces).await, 0, "the counts of spaces differ from the runs");
}

/// Asserts that the stored sums and the changes are together what a count gives, for every day and status.
async fn assert_days_and_windows(test: &TestApi) {
    let days = "with stored as (
            select pipeline_id, day, status, is_deleted, sum(n) as n, sum(durations) as durations,
                sum(duration_sum) as duration_sum
            from (select * from run_days union all
                select pipeline_id, day, status, is_deleted, space_id, n, durations, duration_sum
                from run_changes) d
            group by 1, 2, 3, 4 having sum(n) <> 0 or sum(durations) <> 0 or sum(duration_sum) <> 0),
        counted as (
            select pipeline_id, (counted_at at time zone 'UTC')::date as day, status,
                deleted_at is not null as is_deleted, count(*) as n,
                count(duration_seconds) filter (where status in ('success', 'failed')) as durations,
                coalesce(sum(duration_seconds::numeric) filter (where status in ('success', 'failed')), 0)
                    as duration_sum
            from runs group by 1, 2, 3, 4)
        select count(*) from (
            (table stored except table counted) union all (table counted except table stored)) d";
    assert_eq!(test.number(days).await, 0, "days differ from the runs");
    assert_counts_of_spaces(test).await;
    let windows = "select count(*) from (
            select w.days, pipeline_id, is_deleted, sum(success_count), sum(failed_count), sum(durations),
                sum(duration_sum)
            from run_windows w where success_count <> 0 or failed_count <> 0 or durations <> 0
            group by 1, 2, 3
            except
            select w.days, d.pipeline_id, d.is_deleted, coalesce(sum(n) filter (where status = 'success'), 0),
                coalesce(sum(n) filter (where status = 'failed'), 0), sum(durations), sum(duration_sum)
            from unnest(array[1, 7, 30, 90, 365]) as w(days)
            join run_days d on d.day > (select as_of from run_window_day) - w.days
            where d.status in ('success', 'failed') group by 1, 2, 3) differing";
    assert_eq!(test.number(windows).await, 0, "windows differ from the days");
}

/// An age in hours, most often close to the beginning of a window.
fn random_age(random: &mut StdRng) -> i64 {
    match random.random_range(0..4) {
        0 => random.random_range(0..60 * 24),
        _ => (i64::from(*WINDOWS.choose(random).unwrap()) * 24 + random.random_range(-3..3)).max(0),
    }
}

async fn change(test: &TestApi, random: &mut StdRng, pipelines: &[PipelineId], step: usize) {
    let state = *STATES.choose(random).unwrap();
    let names: Vec<String> = (0..3).map(|_| format!("'run {}'", random.random_range(0..=step))).collect();
    let some = format!("external_id in ({})", names.join(", "));
    match random.random_range(0..8) {
        0..=2 => {
            let started = hours_ago(random_age(random));
            let pipeline = *pipelines.choose(random).unwrap();
            let run = test.run(pipeline, &format!("run {step}"), state, started).await;
            let seconds = random.random_range(1..1_000);
            test.sql(&format!(
                "update runs set duration_seconds = {seconds} where id = '{run}' and ended_at is not null"
            ))
            .await;
        }
        3 => {
            let seconds = f64::from(random.random_range(1..100_000)) / 7.0;
            test.sql(&format!(
                "update runs set status = '{state}', duration_seconds = {seconds} where {some}"
            ))
            .await;
        }
        4 => {
            let hours = random_age(random);
            test.sql(&format!(
                "update runs set started_at = now() - {hours} * interval '1 hour' where {some}"
            ))
            .await;
        }
        5 => test.sql(&format!("update runs set deleted_at = now() where {some}")).await,
        6 => {
            test.sql(&format!("update runs set deleted_at = null, version = version + 1 where {some}")).await
        }
        _ => test.sql(&format!("delete from runs where {some}")).await,
    }
}

#[tokio::test]
async fn lists_are_sorted_by_sums_that_equal_a_count_after_every_change() {
    let test = TestApi::new().await;
    let mut random = StdRng::seed_from_u64(11);
    let mut pipelines = Vec::new();
    // Many pipelines with few runs each: one run more or less changes their order.
    for name in 0..12 {
        pipelines.push(test.pipeline(&format!("p{name}")).await);
    }
    for step in 0..120 {
        change(&test, &mut random, &pipelines, step).await;
        if random.random_bool(0.3) {
            pipeline_metrics::refresh(&test.db).await.unwrap();
        }
        // As if the worker had not passed a midnight since then, or passed it now.
        if step % 40 == 39 {
            test.sql(
                "delete from run_windows; update run_window_day set as_of = current_date - 9;
                 select fill_run_windows()",
            )
            .await;
        }
        assert_days_and_windows(&test).await;
        for days in [WINDOWS[step % WINDOWS.len()], *WINDOWS.choose(&mut random).unwrap()] {
            assert_sorted(&test, days, random.random_bool(0.5)).await;
        }
    }
    test.sql("select count_all_runs()").await;
    assert_days_and_windows(&test).await;
    assert_sorted(&test, 30, true).await;
}

#[tokio::test]
async fn the_status_and_the_order_follow_the_latest_run_at_once() {
    let test = TestApi::new().await;
    let (a, b) = (test.pipeline("a").await, test.pipeline("b").await);
    test.run(a, "old", "success", hours_ago(3)).await;
    test.run(b, "old", "success", hours_ago(2)).await;
    let names = async |query: &str| {
        let list = test.read(&format!("/pipelines?{query}")).await;
        let names: Vec<_> =
            list.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect();
        names.join(" ")
    };
    for is_added in [false, true] {
        if is_added {
            while pipeline_metrics::refresh(&test.db).await.unwrap() {}
            assert_eq!(test.number("select count(*) from run_changes").await, 0);
        }
        assert_eq!(names("sort=-last_run").await, "b a");
        assert_eq!(names("status=success").await, "a b");
    }
    // Without a change that says otherwise, the stored latest run is used.
    test.sql("update pipeline_metrics set latest_status = 'running'").await;
    assert_eq!(names("status=running").await, "a b");
    test.run(a, "new", "failed", hours_ago(1)).await;
    assert_eq!(names("sort=-last_run").await, "a b");
    assert_eq!(names("status=failed").await, "a");
    let facets = test.read("/pipelines/facets").await;
    let statuses = facets["status"].as_array().unwrap().iter().map(|count| count["value"].clone());
    assert_eq!(statuses.collect::<Vec<Value>>(), ["failed", "running"]);
}

#[tokio::test]
async fn writers_of_runs_of_one_pipeline_neither_wait_nor_deadlock() {
    let test = TestApi::new().await;
    let (a, b) = (test.pipeline("a").await, test.pipeline("b").await);
    for (pipeline, name) in [(a, "a1"), (a, "a2"), (b, "b1"), (b, "b2")] {
        test.run(pipeline, name, "running", hours_ago(1)).await;
    }
    let update = |name: &str| format!("update runs set status = 'failed' where external_id = '{name}'");
    let mut first = test.db.begin().await.unwrap();
    let mut second = test.db.begin().await.unwrap();
    for transaction in [&mut first, &mut second] {
        sqlx::query("set local lock_timeout = '1ms'").execute(&mut **transaction).await.unwrap();
    }
    // In opposite orders, as batches of two partitions write them.
    for (one, other) in [("a1", "b1"), ("b2", "a2")] {
        sqlx::query(AssertSqlSafe(update(one))).execute(&mut *first).await.unwrap();
        sqlx::query(AssertSqlSafe(update(other))).execute(&mut *second).await.unwrap();
    }
    // A pass waits for neither of them.
    let pass = pipeline_metrics::refresh(&test.db);
    tokio::time::timeout(Duration::from_secs(60), pass).await.expect("a pass waits").unwrap();
    first.commit().await.unwrap();
    let total = async || {
        let response = test.get(&format!("/spaces/{SPACE}/orchestration/runs?status=failed")).await;
        response.header("x-total-count").to_owned()
    };
    assert_eq!(total().await, "2");
    second.commit().await.unwrap();
    assert_eq!(total().await, "4");
    while pipeline_metrics::refresh(&test.db).await.unwrap() {}
    assert_eq!(total().await, "4");
    assert_days_and_windows(&test).await;
}
