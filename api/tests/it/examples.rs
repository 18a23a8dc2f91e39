//! The document: every example has the names and types of what is really answered, and what is committed is what the
//! code says.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use testkit::{FakeAirflow, TriggerBehavior};

use crate::app::{SPACE, TestApi};
use crate::assertions::assert_same_shape;
use crate::breaking_changes::breaking_changes;
use crate::seed::{ADMIN, EDITOR, comment, hours_ago};

#[tokio::test]
async fn answers_have_the_names_and_types_of_the_examples() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("daily_sales").await;
    test
        .sql(
            "update pipelines set schedule = '0 5 * * *', external_url = 'https://airflow.example', next_run_at = now(),
             tags = '{finance}',
             tasks = '[{\"task_id\": \"extract\", \"operator\": \"PythonOperator\", \"upstream\": [], \"downstream\": [\"load\"]}]'",
        )
        .await;
    test.run(pipeline, "r0", "failed", hours_ago(2)).await;
    let run = test.run(pipeline, "r1", "success", hours_ago(1)).await;
    test
        .sql(
            "update runs set logical_date = run_after, data_interval_start = run_after, data_interval_end = run_after,
             external_url = 'https://airflow.example'",
        )
        .await;
    let task = test.task_run(run, "extract", -1, "failed").await;
    test.task_run(run, "load", -1, "success").await;
    test
        .sql(
            "update task_runs set operator = 'PythonOperator', queued_at = now(), started_at = now(), ended_at = now(),
             duration_seconds = 3.1, pool = 'p', queue = 'q', hostname = 'h'",
        )
        .await;
    let ask = async |method, path: String, body| test.request(method, EDITOR, &path, body).await;
    ask(Method::PATCH, format!("/pipelines/{pipeline}/team"), json!({"team_id": test.team}))
        .await
        .expect(200);
    ask(Method::PATCH, format!("/pipelines/{pipeline}/criticality"), json!({"criticality": "high"}))
        .await
        .expect(200);
    let on_run = ask(Method::POST, format!("/runs/{run}/comments"), comment("Backfill")).await.expect(201);
    let on_task =
        ask(Method::POST, format!("/task-runs/{task}/comments"), comment("Backfill")).await.expect(201);
    let sync =
        ask(Method::POST, format!("/connectors/{}/sync", test.connector), Value::Null).await.expect(202);
    ask(Method::PUT, format!("/pipelines/{pipeline}/watch"), Value::Null).await.expect(204);
    let shown = test.read(&format!("/runs/{run}")).await;
    let mut compared = BTreeSet::new();
    let catalog = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    let fake = FakeAirflow::start(0).await;
    let connector = json!({
        "config": {"base_url": fake.url, "schedule": "*/30 * * * * *"},
        "credentials": {"auth_type": "basic", "username": "svc", "password": "right"},
    });
    test.sql("update connector_state set last_success_at = now(), confirmed_at = now()").await;
    let connector = test.send(Method::PATCH, EDITOR, &catalog, Some(connector)).await.expect(200);
    let invalid = test.get(&format!("/spaces/{SPACE}/orchestration/pipelines?days=0")).await.expect(422);
    fake.set_behavior(TriggerBehavior::Reject(409));
    let refused = ask(Method::POST, format!("/pipelines/{pipeline}/trigger"), Value::Null).await.expect(409);
    let detail = test.read(&format!("/pipelines/{pipeline}")).await;
    let team_changes = format!("/spaces/{SPACE}/audit?action=pipeline.team_changed");
    for (kind, found) in [
        ("Pipeline", &test.read("/pipelines").await[0]),
        ("Pipeline", &detail),
        ("TaskNode", &detail["tasks"][0]),
        ("Error", &refused),
        ("Invalid", &invalid),
        ("Run", &shown),
        ("Run", &test.read("/runs").await[0]),
        ("TaskRun", &shown["tasks"][0]),
        ("TaskRun", &test.read(&format!("/task-runs/{task}")).await),
        ("Comment", &on_run),
        ("Comment", &on_task),
        ("Sync", &sync),
        ("Connector", &connector),
        ("Sync", &connector["last_sync"]),
        ("Tested", &test.send(Method::POST, EDITOR, &format!("{catalog}/test"), None).await.expect(200)),
        ("Me", &test.send(Method::GET, EDITOR, "/me", None).await.expect(200)),
        ("AuditEntry", &test.send(Method::GET, ADMIN, &team_changes, None).await.expect(200)[0]),
        ("Team", &test.get(&format!("/spaces/{SPACE}/teams")).await.expect(200)[0]),
    ] {
        assert_same_shape(found, &api::openapi::examples()[kind], kind);
        compared.insert(kind.to_owned());
    }
    // The others are examples of what is sent; schemas hold them, and the service is asked with them elsewhere.
    let sent = [
        "ConnectorChange",
        "CriticalityChange",
        "NewComment",
        "NewConnector",
        "TeamChange",
        "TriggerWish",
        "Wish",
    ];
    compared.extend(sent.map(str::to_owned));
    assert_eq!(compared, api::openapi::examples().keys().cloned().collect(), "every example is compared");
}

#[test]
fn every_field_of_an_answer_is_documented() {
    let document = api::openapi::document();
    for (name, example) in api::openapi::examples() {
        let schema = &document["components"]["schemas"][name];
        let mut properties: Vec<&String> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
        let parts = ["allOf", "oneOf"].into_iter().flat_map(|word| schema[word].as_array()).flatten();
        for part in parts {
            let part = match part["$ref"].as_str() {
                Some(reference) => &document["components"]["schemas"][reference.rsplit('/').next().unwrap()],
                None => part,
            };
            properties.extend(part["properties"].as_object().into_iter().flatten().map(|(name, _)| name));
        }
        for (field, _) in example.as_object().unwrap() {
            assert!(properties.contains(&field), "{name}.{field} is not in the document");
        }
    }
}

#[test]
fn the_committed_document_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let said = format!("{}\n", serde_json::to_string_pretty(api::openapi::document()).unwrap());
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let old = serde_json::from_str(&committed).unwrap_or_default();
    let breaks = breaking_changes(&old, api::openapi::document());
    let update = std::env::var("UPDATE_OPENAPI").ok();
    let accepts_breaks = update.as_deref() == Some("breaking");
    assert!(breaks.is_empty() || accepts_breaks, "clients of api/openapi.json break:\n{}", breaks.join("\n"));
    if update.is_some() {
        std::fs::write(path, &said).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == said,
        "api/openapi.json differs: run the test with UPDATE_OPENAPI=1 and look at the change"
    );
}

#[tokio::test]
async fn the_document_and_its_page_need_no_key_and_no_network() {
    let test = TestApi::new().await;
    let ask = async |path: &str| test.raw(Request::builder().uri(path).body(Body::empty()).unwrap()).await;
    assert_eq!(ask("/openapi.json").await.expect(200)["openapi"], "3.1.0");
    let page = ask("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let html = page.expect(200).as_str().unwrap().to_owned();
    let parts: Vec<_> = html.split("/docs/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(parts.len() > 3 && !html.contains("https://"), "{html}");
    for part in parts {
        assert_eq!(ask(&format!("/docs/{part}")).await.status, 200, "{part}");
    }
    assert!(ask("/docs/swagger-initializer.js").await.body.as_str().unwrap().contains("/openapi.json"));
    assert_eq!(ask("/docs/nothing.js").await.status, 404);
    test.send(Method::GET, ADMIN, "/me", None).await.expect(200);
}
