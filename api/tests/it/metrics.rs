//! Stored metrics of pipelines are equal to metrics computed from the runs, also under concurrent changes.

use std::time::Duration;

use contract::ids::{PipelineId, RunId};
use platform::pipeline_metrics;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::app::{SPACE, TestApi};
use crate::seed::hours_ago;

const STATES: [&str; 4] = ["success", "failed", "running", "queued"];
/// Metrics of this window are always computed. While no run is older than 30 days, it has the same runs as
/// the default window, whose metrics are stored.
const COMPUTED: &str = "/pipelines?days=31";

async fn refresh_all(test: &TestApi) {
    while pipeline_metrics::refresh(&test.db).await.unwrap() {}
}

/// The metrics of each pipeline, without the length of the window.
async fn metrics_of(test: &TestApi, path: &str) -> Vec<Value> {
    let mut list = test.read(path).await;
    let list = list.as_array_mut().unwrap().iter_mut();
    let metrics = list.map(|pipeline| {
        pipeline["metrics"]["days"] = Value::Null;
        pipeline["metrics"].take()
    });
    metrics.collect()
}

async fn assert_equal_to_computed(test: &TestApi) {
    assert_eq!(metrics_of(test, "/pipelines").await, metrics_of(test, COMPUTED).await);
}

/// Asserts that the stored totals are those of the lists.
async fn assert_totals(test: &TestApi) {
    for path in
        ["/runs?", "/runs?status=failed&status=queued&", "/runs?include_deleted=true&", "/runs?tag=none&"]
    {
        let response = test.get(&format!("/spaces/{SPACE}/orchestration{path}size=500")).await;
        let total = response.header("x-total-count").to_owned();
        assert_eq!(total, response.expect(200).as_array().unwrap().len().to_string(), "{path}");
    }
}

#[tokio::test]
async fn stored_metrics_are_used_until_a_run_changes() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("daily").await;
    test.run(pipeline, "r1", "success", hours_ago(3)).await;
    refresh_all(&test).await;
    assert_equal_to_computed(&test).await;

    // Wrong numbers are returned, since nothing is computed while no run changes.
    test.sql("update pipeline_metrics set run_count = 77, failed_count = 70").await;
    for path in ["/pipelines", "/pipelines?sort=-failed_count", &format!("/pipelines/{pipeline}")] {
        let mut found = test.read(path).await;
        let found = if found.is_array() { found[0].take() } else { found };
        assert_eq!(found["metrics"]["run_count"], 77, "{path}");
    }
    test.run(pipeline, "r2", "failed", hours_ago(2)).await;
    assert_equal_to_computed(&test).await;
    refresh_all(&test).await;
    assert_equal_to_computed(&test).await;
    assert_eq!(test.read("/pipelines").await[0]["metrics"]["run_count"], 2);
}

#[tokio::test]
async fn a_run_leaves_the_window_by_time_alone() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("daily").await;
    let almost_too_old = chrono::Utc::now() - chrono::TimeDelta::days(30) + chrono::TimeDelta::seconds(3);
    test.run(pipeline, "old", "success", almost_too_old).await;
    refresh_all(&test).await;
    let count = async || test.read("/pipelines").await[0]["metrics"]["run_count"].clone();
    assert_eq!(count().await, 1);
    let has_left = async || count().await == json!(0);
    testkit::eventually("the run leaves the window", Duration::from_secs(60), has_left).await;
    refresh_all(&test).await;
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn metrics_are_equal_to_computed_ones_after_every_change() {
    let test = TestApi::new().await;
    let mut random = StdRng::seed_from_u64(7);
    let mut pipelines = Vec::new();
    for name in ["a", "b", "c", "d"] {
        pipelines.push(test.pipeline(name).await);
    }
    let mut runs = Vec::new();
    for step in 0..80 {
        change(&test, &mut random, &pipelines, &mut runs, step).await;
        if random.random_bool(0.4) {
            pipeline_metrics::refresh(&test.db).await.unwrap();
        }
        assert_equal_to_computed(&test).await;
        assert_totals(&test).await;
    }
    for sort in ["failed_count", "-success_rate", "-avg_duration", "avg_duration"] {
        let order = |path: String| {
            let test = &test;
            async move {
                let list = test.read(&path).await;
                list.as_array().unwrap().iter().map(|p| p["id"].clone()).collect::<Vec<_>>()
            }
        };
        let stored = order(format!("/pipelines?sort={sort}")).await;
        assert_eq!(stored, order(format!("{COMPUTED}&sort={sort}")).await, "{sort}");
    }
}

async fn change(
    test: &TestApi,
    random: &mut StdRng,
    pipelines: &[PipelineId],
    runs: &mut Vec<RunId>,
    step: usize,
) {
    let state = STATES[random.random_range(0..STATES.len())];
    if runs.is_empty() || random.random_bool(0.5) {
        let pipeline = pipelines[random.random_range(0..pipelines.len())];
        let started = hours_ago(random.random_range(1..600));
        runs.push(test.run(pipeline, &format!("run {step}"), state, started).await);
        return;
    }
    let run = runs[random.random_range(0..runs.len())];
    let changes = [
        format!("status = '{state}', duration_seconds = {}", random.random_range(1..1000)),
        "deleted_at = now()".to_owned(),
        "deleted_at = null".to_owned(),
    ];
    let change = &changes[random.random_range(0..changes.len())];
    test.sql(&format!("update runs set {change} where id = '{run}'")).await;
}

#[tokio::test]
async fn a_refresh_concurrent_to_changes_stores_no_outdated_metrics() {
    let test = TestApi::new().await;
    let pipelines = [test.pipeline("a").await, test.pipeline("b").await];
    for n in 0..20 {
        test.run(pipelines[n % 2], &format!("run {n}"), "queued", hours_ago(n as i64 + 1)).await;
    }
    let write = async {
        for n in 0..150 {
            let state = STATES[n % STATES.len()];
            let name = n % 20;
            test.sql(&format!("update runs set status = '{state}' where external_id = 'run {name}'")).await;
        }
    };
    let count = async {
        loop {
            pipeline_metrics::refresh(&test.db).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = write => {}
        () = count => {}
    }
    assert_equal_to_computed(&test).await;
    refresh_all(&test).await;
    assert_equal_to_computed(&test).await;
}
