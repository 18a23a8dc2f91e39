//! Lists of runs of several pipelines by their end, also of those whose times are unusual.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::app::TestApi;
use crate::seed::hours_ago;

/// The hours ago at which a run was queued, has started and has ended.
const RUNS: [(&str, i64, Option<i64>, Option<i64>); 8] = [
    ("usual", 5, Some(5), Some(4)),
    ("old", 500, Some(500), Some(499)),
    ("a week long", 200, Some(200), Some(4)),
    ("just beyond a day", 50, Some(50), Some(25)),
    ("never started", 300, None, Some(3)),
    ("queued after its end", 2, None, Some(400)),
    ("started after its end", 2, Some(2), Some(350)),
    ("running", 1, Some(1), None),
];

fn time(hours: Option<i64>) -> String {
    hours.map_or("null".to_owned(), |hours| format!("'{}'", hours_ago(hours).to_rfc3339()))
}

/// Returns the names of the runs that ended in the range.
fn expected(from: Option<i64>, to: Option<i64>) -> Vec<&'static str> {
    let ended = |ended: i64| from.is_none_or(|from| ended <= from) && to.is_none_or(|to| ended > to);
    let runs = RUNS.iter().filter(|(_, _, _, end)| end.is_some_and(ended));
    let mut names: Vec<_> = runs.map(|(name, ..)| *name).collect();
    names.sort_unstable();
    names
}

fn text(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[tokio::test]
async fn runs_of_several_pipelines_are_found_by_their_end() {
    let test = TestApi::new().await;
    let pipelines = [test.pipeline("sales one").await, test.pipeline("sales two").await];
    for (index, (name, queued, started, ended)) in RUNS.into_iter().enumerate() {
        let run = test.run(pipelines[index % 2], name, "success", hours_ago(queued)).await;
        let (started_at, ended_at) = (time(started), time(ended));
        test.sql(&format!(
            "update runs set started_at = {started_at}, ended_at = {ended_at} where id = '{run}'"
        ))
        .await;
    }
    test.sql("update runs set duration_seconds = extract(epoch from ended_at - started_at)").await;
    test.run(test.pipeline("other").await, "other", "success", hours_ago(4)).await;
    for (from, to) in [
        (Some(6), None),
        (Some(26), None),
        (None, Some(26)),
        (None, Some(3)),
        (Some(450), Some(10)),
        (Some(600), Some(0)),
        (Some(2), Some(1)),
    ] {
        let conditions = [("ended_from", from), ("ended_to", to)];
        let conditions = conditions.into_iter().filter_map(|(name, hours)| Some((name, hours?)));
        let query: String =
            conditions.map(|(name, hours)| format!("&{name}={}", text(hours_ago(hours)))).collect();
        for sort in ["", "&sort=-ended_at", "&sort=started_at"] {
            let list = test.read(&format!("/runs?q=sales{query}{sort}")).await;
            let runs = list.as_array().unwrap().iter();
            let mut found: Vec<_> = runs.filter_map(|run| run["external_id"].as_str()).collect();
            found.sort_unstable();
            assert_eq!(found, expected(from, to), "{query}{sort}");
        }
    }
    assert_eq!(test.read("/runs?q=sales").await.as_array().map(Vec::len), Some(RUNS.len()));
    assert_eq!(test.read("/runs?q=nothing&ended_to=2020-01-01").await, json!([]));
}
