//! Runs: the list of a pipeline, the list of the space, and a single run with its task runs.

use chrono::{SecondsFormat, TimeDelta};
use contract::ids::RunId;
use serde_json::{Value, json};

use crate::app::TestApi;
use crate::assertions::field_of_each;
use crate::seed::hours_ago;

async fn external_ids(test: &TestApi, path: &str) -> String {
    field_of_each(&test.read(path).await, "external_id").join(" ")
}

#[expect(clippy::too_many_lines, reason = "one line a filter")]
#[tokio::test]
async fn runs_are_listed_newest_first_and_filtered() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let other = test.pipeline("q").await;
    for (name, status, hours) in [
        ("a", "success", 5),
        ("b", "failed", 4),
        ("c", "success", 3),
        ("d", "running", 2),
        ("e", "queued", 1),
    ] {
        test.run(pipeline, name, status, hours_ago(hours)).await;
    }
    test.run(other, "x", "failed", hours_ago(6)).await;
    test.sql("update runs set run_type = 'scheduled', duration_seconds = 100 where external_id = 'c'").await;
    let user = test
        .id("update runs set triggered_by_id = (select id from users where name = 'Edith'),
                        triggered_by_name = 'Edith' where external_id = 'd' returning triggered_by_id")
        .await;
    let at = |hours| hours_ago(hours).to_rfc3339_opts(SecondsFormat::Secs, true);
    let ended = (hours_ago(4) + TimeDelta::seconds(10)).to_rfc3339_opts(SecondsFormat::Secs, true);
    for (query, expected) in [
        (String::new(), "e d c b a"),
        ("status=failed".to_owned(), "b"),
        ("status=failed&status=queued".to_owned(), "e b"),
        ("run_type=scheduled".to_owned(), "c"),
        ("run_type=scheduled&run_type=manual".to_owned(), "e d c b a"),
        (format!("started_from={}", at(3)), "d c"),
        (format!("started_to={}", at(3)), "b a"),
        (format!("started_from={}&started_to={}", at(4), at(2)), "c b"),
        (format!("ended_from={ended}"), "c b"),
        (format!("ended_to={ended}"), "a"),
        ("started_from=2001-01-01".to_owned(), "d c b a"),
        ("started_to=2001-01-01".to_owned(), ""),
        ("duration_min=10".to_owned(), "c b a"),
        ("duration_min=10.5".to_owned(), "c"),
        ("duration_max=10".to_owned(), "b a"),
        (format!("triggered_by={user}"), "d"),
        ("run_id=C".to_owned(), "c"),
        ("run_id=%25".to_owned(), ""),
        ("sort=started_at".to_owned(), "a b c d e"),
        ("sort=-started_at".to_owned(), "d c b a e"),
        ("sort=-duration_seconds&status=success&status=running".to_owned(), "c a d"),
    ] {
        assert_eq!(
            external_ids(&test, &format!("/pipelines/{pipeline}/runs?{query}")).await,
            expected,
            "{query}"
        );
    }
    assert_eq!(external_ids(&test, "/runs").await, "e d c b a x");
    assert_eq!(external_ids(&test, "/runs?q=Q").await, "x");
    assert_eq!(
        external_ids(&test, "/runs?status=failed&connector_id=00000000-0000-0000-0000-000000000000").await,
        ""
    );
    assert_eq!(external_ids(&test, "/runs?status=failed&owner=data-eng&sort=ended_at").await, "x b");
    let by = test.read(&format!("/pipelines/{pipeline}/runs?triggered_by={user}")).await[0]["triggered_by"]
        .clone();
    assert_eq!(by, json!({"id": user, "name": "Edith"}));
}

#[tokio::test]
async fn runs_of_inactive_pipelines_and_on_request_deleted_runs_are_returned() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let live = test.run(pipeline, "kept", "success", hours_ago(1)).await;
    let deleted = test.run(pipeline, "gone", "failed", hours_ago(2)).await;
    test.task_run(live, "a", -1, "success").await;
    let deleted_task = test.task_run(live, "b", -1, "pending").await;
    test.sql(&format!("update runs set deleted_at = '2026-05-05Z' where id = '{deleted}'")).await;
    test.sql(&format!("update task_runs set deleted_at = '2026-05-05Z' where id = '{deleted_task}'")).await;
    test.sql("update pipelines set is_active = false").await;
    for base in [format!("/pipelines/{pipeline}/runs"), "/runs".to_owned()] {
        assert_eq!(external_ids(&test, &base).await, "kept");
        assert_eq!(external_ids(&test, &format!("{base}?include_deleted=true")).await, "kept gone");
        assert_eq!(external_ids(&test, &format!("{base}?include_deleted=true&status=failed")).await, "gone");
    }
    assert_eq!(external_ids(&test, "/runs?is_active=true").await, "");
    let run_detail = test.read(&format!("/runs/{deleted}")).await;
    assert_eq!(
        (&run_detail["deleted_at"], &run_detail["status"]),
        (&json!("2026-05-05T00:00:00Z"), &json!("failed"))
    );
    let run_detail = test.read(&format!("/runs/{live}")).await;
    assert_eq!(field_of_each(&run_detail["tasks"], "task_id"), ["a"]);
    assert_eq!(
        (&run_detail["task_counts"], &run_detail["deleted_at"]),
        (&json!({"success": 1}), &Value::Null)
    );
    let all = test.read(&format!("/runs/{live}?include_deleted=true")).await;
    assert_eq!(field_of_each(&all["tasks"], "task_id"), ["a", "b"]);
    assert_eq!(all["task_counts"], json!({"success": 1, "pending": 1}));
    assert_eq!(test.read(&format!("/task-runs/{deleted_task}")).await["deleted_at"], "2026-05-05T00:00:00Z");
}

#[tokio::test]
async fn a_run_contains_thousands_of_mapped_task_runs() {
    let test = TestApi::new().await;
    let run = test.run(test.pipeline("p").await, "r", "running", hours_ago(1)).await;
    test.sql(&format!(
        "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
                 version, fingerprint, log_offset, observed_at, task_id, map_index, name, status, try_number,
                 max_tries)
             select gen_random_uuid(), space_id, connector_id, pipeline_id, id, 'airflow', n::text, 1, '', 0,
             now(), 'mapped', n, 'mapped', case when n % 3 = 0 then 'failed' else 'success' end, 1, 0
             from runs, generate_series(0, 5999) n where runs.id = '{run}'"
    ))
    .await;
    let run_detail = test.read(&format!("/runs/{run}")).await;
    let indexes: Vec<_> = run_detail["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["map_index"].as_i64().unwrap())
        .collect();
    assert_eq!(indexes, (0..6000).collect::<Vec<_>>());
    assert_eq!(run_detail["task_counts"], json!({"failed": 2000, "success": 4000}));
    assert_eq!(test.read("/runs").await[0]["task_counts"], run_detail["task_counts"]);
}

#[tokio::test]
async fn a_run_of_another_space_is_not_found() {
    let test = TestApi::new().await;
    let other_pipeline = test.pipeline_of(test.other_connector, "theirs").await;
    let run: RunId = test.run(other_pipeline, "r", "success", hours_ago(1)).await;
    assert_eq!(test.read("/runs").await, json!([]));
    let o = "/spaces/finance/orchestration";
    assert_eq!(test.get(&format!("{o}/runs/{run}")).await.expect(404), json!({"detail": "Run not found"}));
    assert_eq!(
        test.get(&format!("{o}/pipelines/{other_pipeline}/runs")).await.expect(404),
        json!({"detail": "Pipeline not found"})
    );
}

#[tokio::test]
async fn all_invalid_parameters_are_returned_together() {
    let test = TestApi::new().await;
    let response = test
        .get(
            "/spaces/finance/orchestration/runs?status=never_run&run_type=x&started_from=yesterday\
              &started_to=&ended_from=1\
              &ended_to=2026-02-30&duration_min=-1&duration_max=NaN&triggered_by=me\
              &run_id=%00&sort=-age&days=9999",
        )
        .await;
    let fields = response.invalid_fields();
    assert_eq!(
        fields.join(" ").replace("query.", ""),
        "duration_max duration_min ended_from ended_to run_id run_type sort started_from started_to status \
            triggered_by"
    );
}

#[tokio::test]
async fn states_that_a_later_release_wrote_are_read_as_unknown() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let run = test.run(pipeline, "r", "paused_tomorrow", hours_ago(1)).await;
    test.task_run(run, "t", -1, "paused_tomorrow").await;
    test.sql("update runs set run_type = 'of_tomorrow'").await;
    let found = test.read(&format!("/runs/{run}")).await;
    assert_eq!((&found["status"], &found["run_type"]), (&json!("unknown"), &json!("unknown")));
    assert_eq!(found["provider_status"], "paused_tomorrow");
    assert_eq!(field_of_each(&found["tasks"], "status"), ["unknown"]);
    let found = test.read(&format!("/pipelines/{pipeline}")).await;
    assert_eq!(found["last_run"]["status"], "unknown");
}

#[tokio::test]
async fn a_large_conf_is_null_in_lists_and_whole_by_id() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    for (name, hours) in [("small", 3), ("large", 2), ("left_out", 1)] {
        test.run(pipeline, name, "success", hours_ago(hours)).await;
    }
    test.sql(r#"update runs set conf = '{"a": [1, "b c"]}' where external_id = 'small'"#).await;
    let large =
        "update runs set conf = jsonb_build_object('x', repeat('é', 9000)) where external_id = 'large'";
    test.sql(large).await;
    test.sql("update runs set conf = 'null', conf_bytes = 9000000 where external_id = 'left_out'").await;
    let list = test.read("/runs").await;
    let runs = list.as_array().unwrap();
    let shown: Vec<_> = runs.iter().map(|run| json!([run["conf"], run["conf_bytes"]])).collect();
    assert_eq!(json!(shown), json!([[null, 9_000_000], [null, 18_008], [{"a": [1, "b c"]}, 15]]));
    let large = test.read(&format!("/runs/{}", runs[1]["id"].as_str().unwrap())).await;
    assert_eq!(large["conf"]["x"].as_str().unwrap().chars().count(), 9000);
    assert_eq!(large["conf_bytes"], 18_008);
}
