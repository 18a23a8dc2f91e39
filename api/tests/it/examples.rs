//! The OpenAPI document: its examples have the fields and types of real responses, and the committed file
//! matches the generated one.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request};
use contract::ids::{PipelineId, RunId, TaskRunId};
use serde_json::{Value, json};
use testkit::{FakeAirflow, TriggerBehavior};
use uuid::Uuid;

use crate::app::{SPACE, TestApi};
use crate::assertions::assert_same_shape;
use crate::breaking_changes::breaking_changes;
use crate::notifications;
use crate::seed::{ADMIN, EDITOR, comment, hours_ago};

/// Inserts rows without missing values, so that the types of all fields are compared.
async fn insert_full_rows(test: &TestApi) -> (PipelineId, RunId, TaskRunId) {
    let pipeline = test.pipeline("daily_sales").await;
    test.sql(
        r#"update pipelines set schedule = '0 5 * * *', external_url = 'https://airflow.example',
               tags = '{finance}', next_run_at = now(),
               tasks = '[{"task_id": "extract", "operator": "PythonOperator", "upstream": [],
                   "downstream": ["load"]}]'"#,
    )
    .await;
    test.run(pipeline, "r0", "failed", hours_ago(2)).await;
    let run = test.run(pipeline, "r1", "success", hours_ago(1)).await;
    test.sql(
        "update runs set logical_date = run_after, data_interval_start = run_after,
             data_interval_end = run_after, external_url = 'https://airflow.example'",
    )
    .await;
    let task_run = test.task_run(run, "extract", -1, "failed").await;
    test.task_run(run, "load", -1, "success").await;
    test.sql(
        "update task_runs set operator = 'PythonOperator', queued_at = now(), started_at = now(),
             ended_at = now(), duration_seconds = 3.1, pool = 'p', queue = 'q', hostname = 'h'",
    )
    .await;
    (pipeline, run, task_run)
}

#[expect(clippy::too_many_lines, reason = "one line an example")]
#[tokio::test]
async fn responses_have_the_fields_and_types_of_the_examples() {
    let test = TestApi::new().await;
    let (pipeline, run, task) = insert_full_rows(&test).await;
    let send = async |method, path: String, body| test.request(method, EDITOR, &path, body).await;
    send(Method::PATCH, format!("/pipelines/{pipeline}/team"), json!({"team_id": test.team}))
        .await
        .expect(200);
    send(Method::PATCH, format!("/pipelines/{pipeline}/criticality"), json!({"criticality": "high"}))
        .await
        .expect(200);
    let on_run = send(Method::POST, format!("/runs/{run}/comments"), comment("Backfill")).await.expect(201);
    let on_task =
        send(Method::POST, format!("/task-runs/{task}/comments"), comment("Backfill")).await.expect(201);
    let sync =
        send(Method::POST, format!("/connectors/{}/sync", test.connector), Value::Null).await.expect(202);
    send(Method::PUT, format!("/pipelines/{pipeline}/watch"), Value::Null).await.expect(204);
    let run_detail = test.read(&format!("/runs/{run}")).await;
    let mut compared = BTreeSet::new();
    let catalog = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    let fake = FakeAirflow::start(0).await;
    let connector = json!({
        "config": {"base_url": fake.url, "schedule": "*/30 * * * * *"},
        "credentials": {"auth_type": "basic", "username": "svc", "password": "right"},
    });
    test.sql("update connector_state set last_success_at = now(), confirmed_at = now()").await;
    test.sql(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, finished_at)
         select gen_random_uuid(), space_id, id, 'succeeded', 'schedule', now() - interval '1 hour', now()
         from connectors",
    )
    .await;
    let connector = test.send(Method::PATCH, EDITOR, &catalog, Some(connector)).await.expect(200);
    let invalid = test.get(&format!("/spaces/{SPACE}/orchestration/pipelines?days=0")).await.expect(422);
    fake.set_behavior(TriggerBehavior::Reject(409));
    let rejected =
        send(Method::POST, format!("/pipelines/{pipeline}/trigger"), Value::Null).await.expect(409);
    let detail = test.read(&format!("/pipelines/{pipeline}?recent_runs=1")).await;
    let bulk = json!({"ids": [pipeline, Uuid::nil()], "criticality": "low"});
    let bulk = send(Method::POST, "/pipelines/bulk".to_owned(), bulk).await.expect(200);
    let new_key = json!({"label": "laptop", "expires_at": "2999-01-01"});
    let new_key = test.send(Method::POST, EDITOR, "/api-keys", Some(new_key)).await.expect(201);
    test.sql("insert into api_key_uses select id, now() from api_keys where label = 'laptop'").await;
    let team = format!("/spaces/{SPACE}/teams/{}", test.team);
    test.send(Method::PATCH, ADMIN, &team, Some(json!({"description": "Owns the ledger"}))).await.expect(200);
    let edith = test.id("select id from users where name = 'Edith'").await;
    let manager = format!("{team}/members/{edith}");
    test.send(Method::PUT, ADMIN, &manager, Some(json!({"role": "manager"}))).await.expect(200);
    let incident = test.incident(pipeline, "slow").await;
    test.sql(
        r#"update incidents set last_run_id = gen_random_uuid(), evidence = '{
            "due_at": "2026-01-01T05:00:00Z", "started_at": "2026-01-01T05:00:00Z",
            "seen_at": "2026-01-01T05:00:00Z", "elapsed_seconds": 1.5, "limit_seconds": 1.5,
            "duration_p50_seconds": 1.5, "duration_p95_seconds": 1.5, "class": "all", "runs": 30}'"#,
    )
    .await;
    let incident =
        send(Method::POST, format!("/incidents/{incident}/acknowledge"), Value::Null).await.expect(200);
    let parameters = format!("/pipelines/{pipeline}/parameters");
    let parameters = send(Method::GET, parameters, Value::Null).await.expect(200);
    let mappings = format!("/spaces/{SPACE}/group-mappings");
    let mapping = json!({"group": "finance-analysts", "role": "viewer"});
    let team_changes = format!("/spaces/{SPACE}/audit?action=pipeline.team_changed");
    for (schema, found) in [
        ("Pipeline", &test.read("/pipelines?recent_runs=1").await[0]),
        ("Grid", &test.read(&format!("/pipelines/{pipeline}/grid")).await),
        ("Parameters", &parameters),
        ("PipelineFacets", &test.read("/pipelines/facets").await),
        ("BulkResult", &bulk),
        ("Pipeline", &detail),
        ("TaskNode", &detail["tasks"][0]),
        ("Error", &rejected),
        ("Invalid", &invalid),
        ("Run", &run_detail),
        ("Run", &test.read("/runs").await[0]),
        ("TaskRun", &run_detail["tasks"][0]),
        ("TaskRun", &test.read(&format!("/task-runs/{task}")).await),
        ("Comment", &on_run),
        ("Comment", &on_task),
        ("Sync", &sync),
        ("Connector", &connector),
        ("Sync", &connector["queued_sync"]),
        ("Tested", &test.send(Method::POST, EDITOR, &format!("{catalog}/test"), None).await.expect(200)),
        ("Me", &test.send(Method::GET, EDITOR, "/me", None).await.expect(200)),
        ("Session", &test.sign_in(EDITOR).await.1),
        ("SessionEntry", &test.send(Method::GET, EDITOR, "/sessions", None).await.expect(200)[0]),
        ("SessionProvider", &test.get("/session/providers").await.expect(200)[0]),
        ("AuditEntry", &test.send(Method::GET, ADMIN, &team_changes, None).await.expect(200)[0]),
        ("Team", &detail["team"]),
        ("ApiKey", &test.send(Method::GET, EDITOR, "/api-keys", None).await.expect(200)[0]),
        ("CreatedApiKey", &new_key),
        (
            "Member",
            &test.send(Method::GET, ADMIN, &format!("/spaces/{SPACE}/members"), None).await.expect(200)[0],
        ),
        (
            "PersonEntry",
            &test.send(Method::GET, ADMIN, &format!("/spaces/{SPACE}/people"), None).await.expect(200)[0],
        ),
        ("GroupMapping", &test.send(Method::POST, ADMIN, &mappings, Some(mapping)).await.expect(201)),
        ("TeamDetail", &test.get(&format!("/spaces/{SPACE}/teams")).await.expect(200)[0]),
        ("Incident", &incident),
        ("TeamMember", &test.get(&format!("{team}/members")).await.expect(200)[0]),
    ] {
        assert_same_shape(found, &api::openapi::examples()[schema], schema);
        compared.insert(schema.to_owned());
    }
    for (schema, found) in notifications::read_full_rows(&test, pipeline, run).await {
        assert_same_shape(&found, &api::openapi::examples()[schema], schema);
        compared.insert(schema.to_owned());
    }
    // The remaining examples are request bodies, which other tests send.
    let request_bodies = [
        "BulkChange",
        "ChannelChange",
        "ConnectorChange",
        "CriticalityChange",
        "GroupMappingPatch",
        "MarkRead",
        "IncidentMute",
        "NewComment",
        "NewApiKey",
        "NewChannel",
        "NewConnector",
        "NewGroupMapping",
        "NewRule",
        "NewTeam",
        "RoleChange",
        "RulePatch",
        "SignIn",
        "TeamChange",
        "TeamPatch",
        "TeamRoleChange",
        "TriggerWish",
        "Wish",
    ];
    compared.extend(request_bodies.map(str::to_owned));
    assert_eq!(compared, api::openapi::examples().keys().cloned().collect(), "every example is compared");
}

#[test]
fn every_field_of_an_example_is_in_its_schema() {
    let document = api::server::document();
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
fn the_committed_document_matches_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let generated = format!("{}\n", serde_json::to_string_pretty(api::server::document()).unwrap());
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let old = serde_json::from_str(&committed).unwrap_or_default();
    let breaks = breaking_changes(&old, api::server::document());
    let update = std::env::var("UPDATE_OPENAPI").ok();
    let accepts_breaks = update.as_deref() == Some("breaking");
    assert!(breaks.is_empty() || accepts_breaks, "clients of api/openapi.json break:\n{}", breaks.join("\n"));
    if update.is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == generated,
        "api/openapi.json differs: run the test with UPDATE_OPENAPI=1 and review the change"
    );
}

#[tokio::test]
async fn the_document_and_its_page_need_neither_a_key_nor_other_servers() {
    let test = TestApi::new().await;
    let send = async |path: &str| test.raw(Request::builder().uri(path).body(Body::empty()).unwrap()).await;
    assert_eq!(send("/openapi.json").await.expect(200)["openapi"], "3.1.0");
    let page = send("/docs").await;
    assert!(page.header("content-type").starts_with("text/html"));
    let html = page.expect(200).as_str().unwrap().to_owned();
    let parts: Vec<_> = html.split("/docs/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(parts.len() > 3 && !html.contains("https://"), "{html}");
    for part in parts {
        assert_eq!(send(&format!("/docs/{part}")).await.status, 200, "{part}");
    }
    assert!(send("/docs/swagger-initializer.js").await.body.as_str().unwrap().contains("/openapi.json"));
    assert_eq!(send("/docs/nothing.js").await.status, 404);
    test.send(Method::GET, ADMIN, "/me", None).await.expect(200);
}
