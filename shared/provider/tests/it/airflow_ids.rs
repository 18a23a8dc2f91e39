//! Ids that do not survive in a path: the rows are looked up in lists, and no 404 of a route is a deletion.

use provider::{ProviderError, TaskRunScope};
use serde_json::json;
use wiremock::matchers::{method, path, query_param_contains};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use crate::airflow_server::{observation, provider, recorded, response, start_airflow};

/// Ids that a server decodes to another path, or a client drops.
const ODD_IDS: [&str; 10] = [
    "media/2026/08/a b",
    "a%2Fb",
    ".",
    "..",
    "../..",
    "r1/taskInstances",
    "back\\slash",
    "50%",
    "r1\n",
    ".\t.",
];

fn run(id: &str) -> serde_json::Value {
    json!({"dag_id": "d", "dag_run_id": id, "state": "running", "conf": {}})
}

/// A server with these runs of one DAG. By path it answers as a real one: that it has no such route, or for
/// another run.
async fn server_with_runs(release: &str, runs: Vec<String>) -> MockServer {
    let server = start_airflow(release).await;
    let (api, dag) = if release == "2.11" { ("v1", "d") } else { ("v2", "~") };
    let list = move |request: &Request| {
        let offset = request.url.query_pairs().find(|(name, _)| name == "offset");
        let offset: usize = offset.map_or(0, |(_, offset)| offset.parse().unwrap());
        let rows: Vec<_> = runs.iter().skip(offset).take(100).map(|id| run(id)).collect();
        ResponseTemplate::new(200).set_body_json(json!({"dag_runs": rows, "total_entries": runs.len()}))
    };
    let at = format!("/api/{api}/dags/{dag}/dagRuns");
    Mock::given(method("GET")).and(path(at)).respond_with(list).mount(&server).await;
    let other = response(404, recorded(release, "no_dag_run.json"));
    Mock::given(path(format!("/api/{api}/dags/d/dagRuns/r1/taskInstances")))
        .respond_with(other)
        .mount(&server)
        .await;
    let no_route = if release == "2.11" { "no_route.html" } else { "no_route.json" };
    Mock::given(method("GET"))
        .respond_with(response(404, recorded(release, no_route)))
        .with_priority(10)
        .mount(&server)
        .await;
    server
}

#[tokio::test]
async fn a_run_with_an_odd_id_is_looked_up_in_a_list() {
    for release in ["2.11", "3.1", "3.3"] {
        let server = server_with_runs(release, ODD_IDS.map(str::to_owned).to_vec()).await;
        let airflow = provider(&server.uri());
        for id in ODD_IDS {
            let found = airflow.run("d", id, observation()).await.unwrap().unwrap();
            assert_eq!(found.value.external_id, id, "{release}");
        }
        // The list is complete without it.
        for gone in ["gone/run", "gone"] {
            assert_eq!(airflow.run("d", gone, observation()).await, Ok(None), "{release}");
        }
    }
}

#[tokio::test]
async fn a_run_that_a_too_long_list_lacks_is_not_missing() {
    for release in ["2.11", "3.3"] {
        let server = server_with_runs(release, (0..5000).map(|id| format!("r{id}")).collect()).await;
        let error = provider(&server.uri()).run("d", "a/b", observation()).await.unwrap_err();
        assert!(matches!(error, ProviderError::Unaddressable { .. }), "{error}");
    }
}

/// Task runs that cannot be requested are not missing.
#[tokio::test]
async fn task_runs_of_a_run_with_an_odd_id_are_named_as_unreadable() {
    for release in ["2.11", "3.3"] {
        let server = server_with_runs(release, Vec::new()).await;
        let airflow = provider(&server.uri());
        for id in ODD_IDS {
            let scope = TaskRunScope::Run { pipeline: "d".to_owned(), run: id.to_owned() };
            let page = airflow.task_runs(&scope, observation(), None).await.unwrap();
            assert_eq!((page.items.len(), page.unreadable.lost), (0, 1));
            assert_eq!(page.unreadable.entries[0].id, format!("d/{id}"));
        }
    }
}

#[tokio::test]
async fn a_pipeline_with_an_odd_id_is_looked_up_in_the_list() {
    for (release, api) in [("2.11", "v1"), ("3.3", "v2")] {
        let server = start_airflow(release).await;
        let list = json!({"dags": [{"dag_id": "x..y"}, {"dag_id": ".."}], "total_entries": 2});
        Mock::given(path(format!("/api/{api}/dags")))
            .and(query_param_contains("dag_id_pattern", "."))
            .respond_with(response(200, list.to_string()))
            .mount(&server)
            .await;
        let airflow = provider(&server.uri());
        assert!(airflow.has_pipeline("..").await.unwrap());
        assert!(!airflow.has_pipeline(".").await.unwrap());
    }
}
