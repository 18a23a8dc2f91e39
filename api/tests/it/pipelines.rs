//! Pipelines: their fields, and the filters and orders of the list.

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::app::TestApi;
use crate::assertions::field_of_each;
use crate::seed::hours_ago;

async fn names(test: &TestApi, query: &str) -> Vec<String> {
    let list = test.read(&format!("/pipelines?{query}")).await;
    field_of_each(&list, "name").into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn metrics_cover_the_runs_of_the_window() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    for (name, status, hours, seconds) in [
        ("a", "success", 1, 10.0),
        ("b", "success", 2, 20.0),
        ("c", "failed", 3, 60.0),
        ("d", "running", 0, 0.0),
        ("e", "queued", 0, 0.0),
        ("f", "unknown", 4, 0.0),
        ("old", "failed", 24 * 8, 1000.0),
        ("gone", "failed", 5, 500.0),
    ] {
        let run = test.run(pipeline, name, status, hours_ago(hours)).await;
        if seconds > 0.0 {
            test.sql(&format!("update runs set duration_seconds = {seconds} where id = '{run}'")).await;
        }
    }
    test.sql("update runs set deleted_at = now() where external_id = 'gone'").await;
    let metrics = test.read("/pipelines?days=7").await[0]["metrics"].clone();
    let ended = |hours| json!(hours_ago(hours) + TimeDelta::seconds(10));
    assert_eq!(
        metrics,
        json!({
            "days": 7, "run_count": 6, "success_count": 2, "failed_count": 1, "running_count": 1,
            "queued_count": 1,
            "success_rate": 2.0 / 3.0, "avg_duration_seconds": 30.0, "p50_duration_seconds": 20.0,
            "p95_duration_seconds": 56.0, "last_success_at": ended(1), "last_failure_at": ended(3),
        })
    );
    assert_eq!(test.read(&format!("/pipelines/{pipeline}?days=7")).await["metrics"], metrics);
    assert_eq!(test.read("/pipelines").await[0]["metrics"]["failed_count"], 2);
    assert_eq!(test.read("/pipelines?days=7&include_deleted=true").await[0]["metrics"]["failed_count"], 2);
    let empty = test.pipeline("q").await;
    let metrics = test.read(&format!("/pipelines/{empty}")).await["metrics"].clone();
    assert_eq!((&metrics["run_count"], &metrics["success_rate"]), (&json!(0), &Value::Null));
    assert_eq!(metrics["p95_duration_seconds"], Value::Null);
}

#[tokio::test]
async fn the_last_run_is_the_one_that_was_due_last() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    assert_eq!(test.read("/pipelines").await[0]["status"], "never_run");
    assert_eq!(test.read("/pipelines").await[0]["last_run"], Value::Null);
    test.run(pipeline, "scheduled", "success", hours_ago(3)).await;
    // A run without a logical date, as in Airflow 2, is ordered by its queue time.
    test.run(pipeline, "queued", "queued", hours_ago(1)).await;
    test.sql("update runs set run_after = null, logical_date = null where external_id = 'queued'").await;
    // A run that was due long ago is not newer for having started just now.
    test.run(pipeline, "backfill", "running", hours_ago(0)).await;
    test.sql("update runs set run_after = now() - interval '9 days' where external_id = 'backfill'").await;
    let deleted = test.run(pipeline, "gone", "failed", hours_ago(0)).await;
    test.sql(&format!("update runs set deleted_at = now() where id = '{deleted}'")).await;
    let detail = test.read("/pipelines").await[0].clone();
    assert_eq!((&detail["status"], &detail["last_run"]["external_id"]), (&json!("queued"), &json!("queued")));
    assert_eq!(field_of_each(&test.read("/runs").await, "external_id"), ["queued", "scheduled", "backfill"]);
}

#[tokio::test]
async fn filters_are_combined() {
    let test = TestApi::new().await;
    for (name, change) in [
        ("sales", "owners = '{ann,bob}', owner = 'ann', tags = '{finance,daily}'"),
        ("stock", "owners = '{bob}', owner = 'bob', tags = '{daily}', is_paused = true"),
        ("gone", "is_active = false"),
        ("other", "provider = 'elsewhere', description = 'Moves 100% of_it'"),
    ] {
        let id = test.pipeline(name).await;
        test.sql(&format!("update pipelines set {change} where id = '{id}'")).await;
    }
    test.run(contract::ids::PipelineId::of(test.connector, "sales"), "r", "failed", hours_ago(1)).await;
    test.run(contract::ids::PipelineId::of(test.connector, "stock"), "r", "success", hours_ago(1)).await;
    let connector = test.connector;
    for (query, expected) in [
        ("", "other sales stock"),
        ("is_active=any", "gone other sales stock"),
        ("is_active=false", "gone"),
        ("provider=airflow", "sales stock"),
        ("provider=nobody", ""),
        ("owner=bob", "sales stock"),
        ("owner=ann", "sales"),
        ("owner=ann&owner=data-eng", "other sales"),
        ("owner=An", ""),
        ("tag=daily", "sales stock"),
        ("tag=finance", "sales"),
        ("is_paused=true", "stock"),
        ("is_paused=false", "other sales"),
        ("status=failed", "sales"),
        ("status=failed&status=success", "sales stock"),
        ("status=never_run", "other"),
        ("status=failed&owner=bob&tag=daily&provider=airflow&is_paused=no", "sales"),
        ("status=success&owner=ann", ""),
        (&format!("connector_id={connector}"), "other sales stock"),
        ("connector_id=00000000-0000-0000-0000-000000000000", ""),
        ("unknown=1&other[]=x", "other sales stock"),
    ] {
        assert_eq!(names(&test, query).await.join(" "), expected, "{query}");
    }
}

#[tokio::test]
async fn text_search_matches_every_word_literally() {
    let test = TestApi::new().await;
    for (name, change) in [
        ("Daily_Sales", "external_id = 'daily_sales', tags = '{finance}'"),
        ("dailyXsales", "description = 'the \"big\" one'"),
        ("percent", "description = '100% of it', owners = '{o''hara,Zoë}'"),
        ("ÉTÉ", "description = null"),
    ] {
        let id = test.pipeline(name).await;
        test.sql(&format!("update pipelines set {change} where id = '{id}'")).await;
    }
    for (q, expected) in [
        ("daily", "Daily_Sales dailyXsales"),
        ("DAILY_", "Daily_Sales"),
        ("sales+finance", "Daily_Sales"),
        ("finance+nothing", ""),
        ("%25", "percent"),
        ("100%25+it", "percent"),
        ("o'hara", "percent"),
        ("ZO%C3%8B", "percent"),
        ("%C3%A9t%C3%A9", "ÉTÉ"),
        ("%22big%22", "dailyXsales"),
        ("%5C", ""),
        ("+++", "Daily_Sales dailyXsales percent ÉTÉ"),
        ("", "Daily_Sales dailyXsales percent ÉTÉ"),
        // Fields are searched separately, so that a word does not match across two of them.
        ("o'harapercent", ""),
        ("data-eng", "Daily_Sales dailyXsales ÉTÉ"),
    ] {
        assert_eq!(names(&test, &format!("q={q}")).await.join(" "), expected, "{q}");
    }
}

#[tokio::test]
async fn lists_are_sorted_with_missing_values_last() {
    let test = TestApi::new().await;
    for (name, runs) in [
        ("b", vec!["success", "failed", "failed"]),
        ("A", vec!["success"]),
        ("c", vec!["running"]),
        ("D", vec![]),
    ] {
        let pipeline = test.pipeline(name).await;
        for (n, status) in runs.iter().enumerate() {
            let hours = i64::try_from(n).unwrap() + i64::from(name == "A") + 1;
            test.run(pipeline, &format!("r{n}"), status, hours_ago(hours)).await;
        }
    }
    test.sql(
        "update runs set duration_seconds = 99 where pipeline_id in (select id from pipelines where name
                = 'A')",
    )
    .await;
    for (sort, expected) in [
        ("name", "A b c D"),
        ("-name", "D c b A"),
        ("-last_run", "b c A D"),
        ("last_run", "A b c D"),
        ("-failed_count", "b A c D"),
        ("failed_count", "A c D b"),
        ("success_rate", "b A c D"),
        ("-success_rate", "A b c D"),
        ("-avg_duration", "A b c D"),
        ("avg_duration", "b A c D"),
    ] {
        let mut found = names(&test, &format!("sort={sort}")).await;
        // Equal pipelines are ordered by their random ids, so that either order is right.
        for tie in [["b", "c"], ["A", "c"], ["A", "D"], ["c", "D"], ["A", "c"]] {
            let at = |name: &str| found.iter().position(|found| found == name).unwrap();
            let (first, second) = (at(tie[0]), at(tie[1]));
            if first == second + 1 && are_equal(sort, tie) {
                found.swap(first, second);
            }
        }
        assert_eq!(found.join(" "), expected, "{sort}");
    }
}

/// Whether two pipelines are equal in the sorted column.
fn are_equal(sort: &str, [first, second]: [&str; 2]) -> bool {
    let failures = |name| if name == "b" { 2 } else { 0 };
    let has_rate = |name| matches!(name, "A" | "b");
    match sort.trim_start_matches('-') {
        "last_run" => (first, second) == ("b", "c"),
        "failed_count" => failures(first) == failures(second),
        "success_rate" | "avg_duration" => !has_rate(first) && !has_rate(second),
        _ => false,
    }
}

#[tokio::test]
async fn pages_by_name_continue_between_equal_names() {
    let test = TestApi::new().await;
    for n in 0..23 {
        test.pipeline(&format!("p{n:02}")).await;
    }
    test.sql(
        "update pipelines set name = case when external_id < 'p12' then 'b' else upper(external_id) end",
    )
    .await;
    test.sql("update pipelines set is_active = false where external_id in ('p03', 'p15')").await;
    for query in
        ["sort=name", "sort=-name", "sort=-name&is_active=any", "sort=name&tag=none&tag=", "sort=-last_run"]
    {
        let whole = test.read(&format!("/pipelines?{query}")).await;
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/spaces/finance/orchestration/pipelines?{query}&size=4{cursor}");
            let response = test.get(&path).await;
            let next = response.header("x-next-cursor").to_owned();
            assert_eq!(response.header("x-total-count"), whole.as_array().unwrap().len().to_string());
            found.extend(response.expect(200).as_array().unwrap().clone());
            if next.is_empty() {
                break;
            }
            cursor = format!("&cursor={next}");
        }
        assert_eq!(field_of_each(&json!(found), "id"), field_of_each(&whole, "id"), "{query}");
    }
}

#[tokio::test]
async fn a_single_pipeline_contains_its_task_graph_and_provider_metadata() {
    let test = TestApi::new().await;
    let id = test.pipeline("p").await;
    let tasks = json!([{"task_id": "a", "operator": "PythonOperator", "upstream": [], "downstream": ["b"]}]);
    test.sql(&format!("update pipelines set tasks = '{tasks}' where id = '{id}'")).await;
    let detail = test.read(&format!("/pipelines/{id}")).await;
    assert_eq!((&detail["tasks"], &detail["provider_metadata"]), (&tasks, &json!({"kept": true})));
    let listed = test.read("/pipelines").await[0].clone();
    for (name, value) in listed.as_object().unwrap() {
        assert_eq!(&detail[name], value, "{name}");
    }
}

#[tokio::test]
async fn rows_are_synced_as_of_the_last_successful_poll() {
    let test = TestApi::new().await;
    let (active, deleted) = (test.pipeline("there").await, test.pipeline("gone").await);
    let run = test.run(active, "r", "success", hours_ago(2)).await;
    let deleted_run = test.run(active, "d", "success", hours_ago(2)).await;
    let run_of_deleted = test.run(deleted, "r", "running", hours_ago(2)).await;
    test.sql(&format!("update pipelines set is_active = false, deleted_at = now() where id = '{deleted}'"))
        .await;
    // An inactive pipeline that the provider still lists is synced by every poll too.
    test.sql(&format!("update pipelines set is_active = false where id = '{active}'")).await;
    test.sql(&format!("update runs set deleted_at = now() where id = '{deleted_run}'")).await;
    test.sql("update connector_state set confirmed_at = '2026-06-01Z'").await;
    let detail = test.read(&format!("/pipelines/{active}")).await;
    assert_eq!(detail["last_synced_at"], "2026-06-01T00:00:00Z");
    assert_eq!(
        (&detail["last_seen_at"], &detail["updated_at"]),
        (&json!("2026-06-01T00:00:00Z"), &json!("2026-01-01T00:00:00Z"))
    );
    assert_eq!(test.read(&format!("/pipelines/{deleted}")).await["last_synced_at"], "2026-01-01T00:00:00Z");
    test.sql("update connector_state set confirmed_at = '2099-06-01Z'").await;
    assert_eq!(test.read(&format!("/runs/{run}")).await["last_synced_at"], "2099-06-01T00:00:00Z");
    // A pipeline that is missing from the listing is not confirmed by the poll.
    test.sql(
        "insert into pipeline_crawls (connector_id, external_id, absences)
              select connector_id, external_id, 1 from pipelines where deleted_at is null",
    )
    .await;
    assert_eq!(test.read(&format!("/pipelines/{active}")).await["last_synced_at"], "2026-01-01T00:00:00Z");
    for unconfirmed in [run, deleted_run, run_of_deleted] {
        assert_ne!(
            test.read(&format!("/runs/{unconfirmed}")).await["last_synced_at"],
            "2099-06-01T00:00:00Z"
        );
    }
}

#[tokio::test]
async fn all_invalid_parameters_are_returned_together() {
    let test = TestApi::new().await;
    let path = "/spaces/finance/orchestration/pipelines?status=good&criticality=urgent&team_id=x\
                &connector_id=1&days=366\
                &watched_only=maybe&is_paused=2&is_active=none&sort=age&page=0&size=-1\
                &include_deleted=&q=%00";
    let response = test.get(path).await;
    let fields = response.invalid_fields();
    assert_eq!(
        fields.join(" ").replace("query.", ""),
        "connector_id criticality days include_deleted is_active is_paused page q size sort status team_id \
            watched_only"
    );
    assert_eq!(response.status, 422);
}
