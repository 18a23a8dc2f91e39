//! Pagination: lists are read completely, by cursor or by offset.

use std::collections::BTreeMap;

use provider::{ProviderError, RunScope, TaskRunScope};
use serde_json::{Value, json};
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::airflow_server::{
    ANY_NETWORK, basic, mock_dags, mock_login, observation, open_with, probe, provider, read_all_pages,
    recorded, response, start_airflow, time,
};

#[tokio::test]
async fn a_list_with_cursors_is_read_completely() {
    let server = start_airflow("3.3").await;
    let first: Value = serde_json::from_str(&recorded("3.3", "dag_runs_page_1.json")).unwrap();
    for (cursor, name) in
        [("", "dag_runs_page_1.json"), (first["next_cursor"].as_str().unwrap(), "dag_runs_page_2.json")]
    {
        Mock::given(path("/api/v2/dags/~/dagRuns"))
            .and(query_param("cursor", cursor))
            .and(query_param("order_by", "id"))
            .and(query_param("updated_at_gte", "2026-11-24T00:00:00.000000Z"))
            .respond_with(response(200, recorded("3.3", name)))
            .expect(1)
            .mount(&server)
            .await;
    }
    let airflow = provider(&server.uri());
    let scope = RunScope::ChangedSince(time("2026-11-24T00:00:00Z"));
    let (runs, pages) = read_all_pages(|page| {
        let (airflow, scope) = (&airflow, &scope);
        async move { airflow.runs(scope, observation(), page.as_ref()).await }
    })
    .await;
    assert_eq!((runs.len(), pages), (7, 2));
}

#[tokio::test]
async fn the_offset_advances_by_the_rows_received() {
    let server = start_airflow("3.3").await;
    for (offset, name) in [("0", "dags_page_1.json"), ("4", "dags_page_2.json")] {
        Mock::given(path("/api/v2/dags"))
            .and(query_param("offset", offset))
            .and(query_param("limit", "100"))
            .and(query_param("exclude_stale", "false"))
            .respond_with(response(200, recorded("3.3", name)))
            .expect(1)
            .mount(&server)
            .await;
    }
    let airflow = provider(&server.uri());
    let (pipelines, pages) = read_all_pages(|page| {
        let airflow = &airflow;
        async move { airflow.pipelines(observation(), page.as_ref()).await }
    })
    .await;
    assert_eq!((pipelines.len(), pages), (7, 2));
    assert!(pipelines.is_sorted_by_key(|pipeline| pipeline.external_id.clone()));
}

#[tokio::test]
async fn huge_rows_are_read_in_smaller_pages() {
    let server = start_airflow("3.3").await;
    let huge = "x".repeat(200 << 10);
    let list = move |request: &Request| {
        let parameters: BTreeMap<_, _> = request.url.query_pairs().into_owned().collect();
        let number = |name: &str| parameters.get(name).map_or(0, |number| number.parse().unwrap());
        let (limit, offset): (usize, usize) = (number("limit"), number("offset"));
        let runs: Vec<_> = (offset..(offset + limit).min(150))
            .map(|run| json!({"dag_id": "a", "dag_run_id": format!("r{run}"), "conf": {"huge": huge}}))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"dag_runs": runs, "total_entries": 150}))
    };
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(list).mount(&server).await;
    let airflow = provider(&server.uri());
    let (runs, pages) = read_all_pages(|page| {
        let airflow = &airflow;
        async move { airflow.runs(&RunScope::Unfinished, observation(), page.as_ref()).await }
    })
    .await;
    // An empty page and five of twenty rows; an empty one and three for the remaining fifty.
    assert_eq!((runs.len(), pages), (150, 10));
}

#[tokio::test]
async fn changes_are_read_up_to_a_time() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2"), ("3.3", "v2")] {
        let server = start_airflow(release).await;
        for (list, name) in [("~/dagRuns", "dag_runs"), ("~/dagRuns/~/taskInstances", "task_instances")] {
            Mock::given(path(format!("/api/{api}/dags/{list}")))
                .and(query_param("updated_at_gte", "2026-11-24T00:00:00.000000Z"))
                .and(query_param("updated_at_lte", "2026-11-24T00:30:00.000000Z"))
                .respond_with(response(200, json!({name: [], "total_entries": 0}).to_string()))
                .expect(1)
                .mount(&server)
                .await;
        }
        let airflow = provider(&server.uri());
        let (since, until) = (time("2026-11-24T00:00:00Z"), time("2026-11-24T00:30:00Z"));
        let runs = RunScope::ChangedBetween(since, until);
        assert_eq!(airflow.runs(&runs, observation(), None).await.unwrap().next, None);
        let task_runs = TaskRunScope::ChangedBetween(since, until);
        assert_eq!(airflow.task_runs(&task_runs, observation(), None).await.unwrap().next, None);
    }
}

#[tokio::test]
async fn a_history_of_airflow_2_has_the_earlier_runs_that_ended_within_it() {
    let server = start_airflow("2.11").await;
    let run = |run: &str| {
        let run = json!({"dag_id": "d", "dag_run_id": run, "state": "success"});
        response(200, json!({"dag_runs": [run], "total_entries": 1}).to_string())
    };
    Mock::given(path("/api/v1/dags/~/dagRuns"))
        .and(query_param("end_date_gte", "2026-11-01T00:00:00.000000Z"))
        .and(query_param("execution_date_lte", "2026-10-31T23:59:59.999999Z"))
        .respond_with(run("monthly"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/v1/dags/d/dagRuns"))
        .and(query_param("execution_date_gte", "2026-11-01T00:00:00.000000Z"))
        .respond_with(run("within"))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(path("/api/v1/dags/d/dagRuns"))
        .and(query_param("end_date_gte", "2026-11-01T00:00:00.000000Z"))
        .and(query_param("execution_date_lte", "2026-10-31T23:59:59.999999Z"))
        .respond_with(run("monthly"))
        .expect(1)
        .mount(&server)
        .await;
    let airflow = provider(&server.uri());
    let scope = RunScope::Pipeline { pipeline: "d".to_owned(), since: time("2026-11-01T00:00:00Z") };
    let (runs, _) = read_all_pages(|page| {
        let (airflow, scope) = (&airflow, &scope);
        async move { airflow.runs(scope, observation(), page.as_ref()).await }
    })
    .await;
    let runs: Vec<_> = runs.iter().map(|run| run.external_id.as_str()).collect();
    assert_eq!(runs, ["within", "monthly"]);
}

#[tokio::test]
async fn a_history_of_airflow_2_without_earlier_runs_costs_one_request() {
    let server = start_airflow("2.11").await;
    let empty = json!({"dag_runs": [], "total_entries": 0}).to_string();
    Mock::given(path("/api/v1/dags/~/dagRuns"))
        .respond_with(response(200, empty))
        .expect(1)
        .mount(&server)
        .await;
    let airflow = provider(&server.uri());
    for (pipeline, second) in [("a", 0), ("b", 1)] {
        let run = json!({"dag_id": pipeline, "dag_run_id": "r", "state": "success"});
        let list = json!({"dag_runs": [run], "total_entries": 1}).to_string();
        let path = path(format!("/api/v1/dags/{pipeline}/dagRuns"));
        Mock::given(path).respond_with(response(200, list)).expect(1).mount(&server).await;
        let since = time(&format!("2026-11-01T00:00:0{second}Z"));
        let scope = RunScope::Pipeline { pipeline: pipeline.to_owned(), since };
        let page = airflow.runs(&scope, observation(), None).await.unwrap();
        assert_eq!((page.items.len(), page.next), (1, None));
    }
}

#[tokio::test]
async fn unfinished_runs_are_filtered_by_state() {
    let server = start_airflow("3.3").await;
    Mock::given(path("/api/v2/dags/~/dagRuns"))
        .and(|request: &Request| {
            let states: Vec<_> = request.url.query_pairs().filter(|(name, _)| name == "state").collect();
            states.iter().map(|(_, state)| state.as_ref()).eq(["running", "queued"])
        })
        .respond_with(response(200, recorded("3.3", "dag_runs_empty.json")))
        .expect(1)
        .mount(&server)
        .await;
    let page = provider(&server.uri()).runs(&RunScope::Unfinished, observation(), None).await.unwrap();
    assert_eq!((page.items.len(), page.next), (0, None));
}

/// The server reports a total, but returns no rows.
#[tokio::test]
async fn a_truncated_list_is_an_error() {
    for (api, server) in [("v2", start_airflow("3.3").await), ("v1", start_airflow("2.11").await)] {
        for list in ["dags", "dags/~/dagRuns"] {
            let name = if list == "dags" { "dags" } else { "dag_runs" };
            Mock::given(path(format!("/api/{api}/{list}")))
                .respond_with(response(200, json!({name: [], "total_entries": 12}).to_string()))
                .expect(2)
                .mount(&server)
                .await;
        }
        let airflow = provider(&server.uri());
        let pipelines = airflow.pipelines(observation(), None).await.unwrap_err();
        let runs = airflow.runs(&RunScope::Unfinished, observation(), None).await.unwrap_err();
        for error in [pipelines, runs] {
            assert!(error.to_string().contains("a list said to hold 12 that ends early"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_body_without_items_is_an_error() {
    let server = start_airflow("3.3").await;
    Mock::given(path("/api/v2/dags")).respond_with(response(200, "{}")).mount(&server).await;
    let error = provider(&server.uri()).pipelines(observation(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Malformed { .. }), "{error}");
}

#[tokio::test]
async fn an_endless_cursor_is_an_error() {
    let server = start_airflow("3.3").await;
    let body = json!({"dag_runs": [], "total_entries": 0, "next_cursor": "again"}).to_string();
    Mock::given(path("/api/v2/dags/~/dagRuns")).respond_with(response(200, body)).mount(&server).await;
    let error = provider(&server.uri()).runs(&RunScope::Unfinished, observation(), None).await.unwrap_err();
    assert!(error.to_string().contains("does not go on"), "{error}");
}

#[tokio::test]
async fn an_empty_run_list_of_a_missing_dag_is_404_in_airflow_2() {
    let server = start_airflow("2.11").await;
    let empty = json!({"dag_runs": [], "total_entries": 0}).to_string();
    Mock::given(path("/api/v1/dags/gone/dagRuns")).respond_with(response(200, empty)).mount(&server).await;
    let missing = response(404, recorded("2.11", "no_dag.json").replace("nope", "gone"));
    Mock::given(path("/api/v1/dags/gone")).respond_with(missing).expect(1).mount(&server).await;
    let scope = RunScope::Pipeline { pipeline: "gone".to_owned(), since: time("2026-11-01T00:00:00Z") };
    let error = provider(&server.uri()).runs(&scope, observation(), None).await.unwrap_err();
    assert!(matches!(error, ProviderError::Refused { status: 404, .. }), "{error}");
}

/// No event contains the values of secret keys, whichever request the run comes from.
#[tokio::test]
async fn secret_values_in_the_conf_of_a_run_are_replaced() {
    let conf = json!({"db_password": "canary", "steps": [{"apiKey": "canary", "rows": 3}], "pin": "1234"});
    let mut run: Value = serde_json::from_str(&recorded("3.3", "dag_run.json")).unwrap();
    run["conf"] = conf;
    let list = json!({"dag_runs": [run], "total_entries": 1});
    let server = start_airflow("3.3").await;
    for (at, body) in [("/api/v2/dags/~/dagRuns", list), ("/api/v2/dags/outcomes/dagRuns/r1", run)] {
        Mock::given(path(at)).respond_with(response(200, body.to_string())).mount(&server).await;
    }
    let replaced = json!({"db_password": "***", "steps": [{"apiKey": "***", "rows": 3}], "pin": "1234"});
    let only_pins =
        json!({"db_password": "canary", "steps": [{"apiKey": "canary", "rows": 3}], "pin": "***"});
    for (config, expected) in [
        (json!({"base_url": server.uri()}), replaced),
        (json!({"base_url": server.uri(), "redact_conf": ["pin"]}), only_pins),
    ] {
        let airflow = open_with(config, &basic().into(), ANY_NETWORK).unwrap();
        let listed = airflow.runs(&RunScope::Unfinished, observation(), None).await.unwrap();
        assert_eq!(listed.items[0].conf, expected.clone().into());
        let found = airflow.run("outcomes", "r1", observation()).await.unwrap().unwrap();
        assert_eq!(found.value.conf, expected.into());
    }
}

/// Whatever a server says of the rest of a list, all of it is read.
#[tokio::test]
async fn a_list_with_odd_fields_for_its_pages_is_read_completely() {
    for (total, cursor) in [
        (json!("x"), Value::Null),
        (json!(-1), json!(7)),
        (json!(1.5), json!(["c"])),
        (json!({}), json!({})),
        (Value::Null, json!(true)),
    ] {
        let server = start_airflow("3.3").await;
        let (total, cursor) = (&total, &cursor);
        for (name, ids, at) in [
            ("dags", vec!["dag_id"], "/api/v2/dags"),
            ("dag_runs", vec!["dag_id", "dag_run_id"], "/api/v2/dags/~/dagRuns"),
        ] {
            let (total, cursor) = (total.clone(), cursor.clone());
            let list = move |request: &Request| {
                let offset = request.url.query_pairs().find(|(name, _)| name == "offset");
                let offset: usize = offset.map_or(0, |(_, offset)| offset.parse().unwrap());
                let row = |row: usize| Value::from_iter(ids.iter().map(|id| (*id, format!("r{row}"))));
                let rows: Vec<_> = (0..150).skip(offset).take(100).map(row).collect();
                let mut body = json!({name: rows, "total_entries": total});
                if name == "dag_runs" && !cursor.is_null() {
                    body["next_cursor"] = cursor.clone();
                }
                response(200, body.to_string())
            };
            Mock::given(path(at)).respond_with(list).mount(&server).await;
        }
        let airflow = &provider(&server.uri());
        let (pipelines, _) =
            read_all_pages(|page| async move { airflow.pipelines(observation(), page.as_ref()).await }).await;
        let (runs, _) = read_all_pages(|page| async move {
            airflow.runs(&RunScope::Unfinished, observation(), page.as_ref()).await
        })
        .await;
        assert_eq!((pipelines.len(), runs.len()), (150, 150), "{total} {cursor}");
    }
}

/// Those that a page lacks would look deleted.
#[tokio::test]
async fn task_instances_without_their_number_are_no_complete_list() {
    for (release, api) in [("2.11", "v1"), ("3.1", "v2")] {
        let server = start_airflow(release).await;
        let row = |row| json!({"dag_id": "d", "dag_run_id": "r", "task_id": format!("t{row}")});
        let body = json!({"task_instances": (0..100).map(row).collect::<Vec<_>>()});
        let at = format!("/api/{api}/dags/d/dagRuns/r/taskInstances");
        Mock::given(path(at)).respond_with(response(200, body.to_string())).mount(&server).await;
        let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: "r".to_owned() };
        let error = provider(&server.uri()).task_runs(&scope, observation(), None).await.unwrap_err();
        assert!(matches!(error, ProviderError::Malformed { .. }), "{release}: {error}");
    }
}

#[tokio::test]
async fn a_server_may_say_anything_of_its_version() {
    for version in ["7", "null", "{}", "\"\\u0000\"", "\"3\""] {
        let server = MockServer::start().await;
        let body = format!("{{\"version\":{version}}}");
        Mock::given(path("/api/v2/version")).respond_with(response(200, body)).mount(&server).await;
        mock_login(&server).await;
        mock_dags(&server, response(200, recorded("3.3", "dags.json")), 1..).await;
        let (shown, _) = probe(provider(&server.uri()).as_ref()).await.unwrap();
        assert!(!shown.is_empty() && !shown.contains('\0'), "{version}: {shown}");
    }
}
