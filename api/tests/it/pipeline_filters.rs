//! The filters of a list of pipelines that take several values, and the newest runs of each.

use chrono::TimeDelta;
use contract::ids::PipelineId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{SPACE, TestApi};
use crate::assertions::field_of_each;
use crate::seed::hours_ago;

async fn names(test: &TestApi, query: &str) -> String {
    field_of_each(&test.read(&format!("/pipelines?{query}")).await, "name").join(" ")
}

async fn errors(test: &TestApi, query: &str) -> Vec<(String, String)> {
    test.get(&format!("/spaces/{SPACE}/orchestration/pipelines?{query}")).await.field_errors()
}

async fn govern(test: &TestApi, pipeline: PipelineId, team: Option<Uuid>, criticality: &str) {
    let team = team.map_or("null".to_owned(), |team| format!("'{team}'"));
    test.sql(&format!(
        "insert into pipeline_governance (pipeline_id, space_id, team_id, criticality)
         select id, space_id, {team}, {criticality} from pipelines where id = '{pipeline}'"
    ))
    .await;
}

#[tokio::test]
async fn several_pipelines_are_read_by_their_ids() {
    let test = TestApi::new().await;
    let (a, b) = (test.pipeline("a").await, test.pipeline("b").await);
    test.pipeline("c").await;
    let foreign = test.pipeline_of(test.other_connector, "theirs").await;
    let gone = test.pipeline("gone").await;
    test.sql(&format!("update pipelines set is_active = false where id = '{gone}'")).await;
    assert_eq!(names(&test, &format!("id={b}&id={a}&id={foreign}&id={}", Uuid::nil())).await, "a b");
    assert_eq!(names(&test, &format!("id={a}&id={gone}&is_active=any")).await, "a gone");
    assert_eq!(names(&test, &format!("id={foreign}")).await, "");
    for (pipeline, hours) in [(a, 1), (b, 2)] {
        test.run(pipeline, "r", "success", hours_ago(hours)).await;
    }
    let runs = test.read(&format!("/runs?pipeline_id={b}&pipeline_id={foreign}")).await;
    assert_eq!(field_of_each(&runs, "pipeline_name"), ["b"]);
    let ids = |n: usize| vec![format!("id={a}"); n].join("&");
    assert_eq!(names(&test, &ids(200)).await, "a");
    let too_many = ("query.id".to_owned(), "value_error.list.max_items".to_owned());
    assert_eq!(errors(&test, &ids(201)).await, [too_many]);
    assert_eq!(errors(&test, "id=x").await[0].1, "type_error.uuid");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of filters and what they match")]
async fn repeated_filters_match_any_value_and_none_matches_rows_without_one() {
    let test = TestApi::new().await;
    let other = test
        .id("insert into teams (id, space_id, name)
        select gen_random_uuid(), id, 'Second' from spaces where slug = 'finance' returning id")
        .await;
    for (name, team, criticality, owners) in [
        ("a", Some(test.team), "'high'", "{ann,none}"),
        ("b", Some(other), "null", "{bob}"),
        ("c", None, "'low'", "{}"),
        ("d", None, "", "{none}"),
    ] {
        let pipeline = test.pipeline(name).await;
        if !criticality.is_empty() {
            govern(&test, pipeline, team, criticality).await;
        }
        test.sql(&format!("update pipelines set owners = '{owners}' where id = '{pipeline}'")).await;
    }
    let (first, second) = (test.team, test.connector);
    for (query, expected) in [
        (format!("team_id={first}&team_id={other}"), "a b"),
        (format!("team_id={first}&team_id=none"), "a c d"),
        ("team_id=none".to_owned(), "c d"),
        ("criticality=none".to_owned(), "b d"),
        ("criticality=high&criticality=none".to_owned(), "a b d"),
        ("criticality=high&criticality=low".to_owned(), "a c"),
        ("owner=none".to_owned(), "c"),
        ("owner=none&owner=bob".to_owned(), "b c"),
        ("owner=none&team_id=none&criticality=low".to_owned(), "c"),
        ("owner=none&criticality=none".to_owned(), ""),
        (format!("connector_id={second}&connector_id={}", Uuid::nil()), "a b c d"),
        (format!("connector_id={}", test.other_connector), ""),
    ] {
        assert_eq!(names(&test, &query).await, expected, "{query}");
    }
    for (query, kind) in [
        ("team_id=None", "type_error.uuid"),
        ("criticality=nothing", "type_error.enum"),
        ("connector_id=none", "type_error.uuid"),
    ] {
        assert_eq!(errors(&test, query).await[0].1, kind, "{query}");
    }
}

#[tokio::test]
async fn a_search_has_at_most_eight_different_words_and_200_characters() {
    let test = TestApi::new().await;
    test.pipeline("abcdefgh").await;
    assert_eq!(names(&test, "q=a+b+c+d+e+f+g+h").await, "abcdefgh");
    assert_eq!(names(&test, &format!("q={}", vec!["a"; 50].join("+"))).await, "abcdefgh");
    assert_eq!(names(&test, &format!("q={}", "%C3%A9".repeat(200))).await, "");
    let kind =
        async |query: &str| errors(&test, query).await.into_iter().map(|error| error.1).collect::<Vec<_>>();
    assert_eq!(kind("q=a+b+c+d+e+f+g+h+i").await, ["value_error.list.max_items"]);
    assert_eq!(kind(&format!("q={}", "a".repeat(201))).await, ["value_error.any_str.max_length"]);
    assert_eq!(kind("q=a%00").await, ["value_error.str.regex"]);
    let runs = format!("/spaces/{SPACE}/orchestration/runs?q=a+b+c+d+e+f+g+h+i");
    assert_eq!(test.get(&runs).await.status, 422);
}

#[tokio::test]
async fn a_list_contains_the_newest_runs_of_each_pipeline() {
    let test = TestApi::new().await;
    let (a, _) = (test.pipeline("a").await, test.pipeline("b").await);
    for hours in 1..5 {
        test.run(a, &format!("r{hours}"), "success", hours_ago(hours)).await;
    }
    test.run(a, "waiting", "queued", hours_ago(0)).await;
    test.sql("update runs set deleted_at = now() where external_id = 'r1'").await;
    let found = test.read("/pipelines?recent_runs=3").await;
    let ordered_at = |run: &Value| run["ordered_at"].clone();
    let runs = found[0]["recent_runs"].as_array().unwrap();
    let expected: Vec<Value> = [0, 2, 3].map(|hours| json!(hours_ago(hours))).to_vec();
    assert_eq!(runs.iter().map(ordered_at).collect::<Vec<_>>(), expected);
    let queued = test.id("select id from runs where external_id = 'waiting'").await;
    assert_eq!(
        runs[0],
        json!({"id": queued, "status": "queued", "run_type": "manual", "ordered_at": hours_ago(0),
               "started_at": null, "duration_seconds": null})
    );
    assert_eq!(runs[1]["duration_seconds"], 10.0);
    assert_eq!(found[1]["recent_runs"], json!([]));
    assert_eq!(
        test.read(&format!("/pipelines/{a}?recent_runs=3")).await["recent_runs"],
        found[0]["recent_runs"]
    );
    for without in ["/pipelines", "/pipelines?recent_runs=0"] {
        assert_eq!(test.read(without).await[0]["recent_runs"], json!([]), "{without}");
    }
    let newest = hours_ago(0) + TimeDelta::zero();
    assert_eq!(
        test.read("/pipelines?recent_runs=50").await[0]["recent_runs"][0]["ordered_at"],
        json!(newest)
    );
    for bad in ["recent_runs=51", "recent_runs=-1", "recent_runs=x"] {
        assert_eq!(errors(&test, bad).await[0].0, "query.recent_runs", "{bad}");
    }
}
