//! Triggers: a command creates at most one run, and its outcome is reported as it is.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use contract::ids::{PipelineId, RunId};
use serde_json::{Value, json};
use testkit::{FakeAirflow, TriggerBehavior};

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::response::TestResponse;
use crate::seed::{EDITOR, OTHER_EDITOR};

/// A test whose connector leads to a fake Airflow, and a pipeline of it.
pub(crate) async fn start_test(setup: ApiSetup) -> (TestApi, FakeAirflow, PipelineId) {
    let test = TestApi::with(setup).await;
    let fake = FakeAirflow::start(0).await;
    let change = json!({
        "config": {"base_url": fake.url},
        "credentials": {"auth_type": "basic", "username": "svc", "password": "right"},
    });
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    test.send(Method::PATCH, EDITOR, &path, Some(change)).await.expect(200);
    let pipeline = test.pipeline("p").await;
    (test, fake, pipeline)
}

async fn set_password(test: &TestApi, password: &str) {
    let change = json!({"credentials": {"auth_type": "basic", "username": "svc", "password": password}});
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    test.send(Method::PATCH, EDITOR, &path, Some(change)).await.expect(200);
}

fn request(pipeline: PipelineId, key: &str, idempotency_key: Option<&str>, body: &Value) -> Request<Body> {
    let request = Request::builder()
        .method("POST")
        .uri(format!("/api/v1.0/spaces/{SPACE}/orchestration/pipelines/{pipeline}/trigger"))
        .header("authorization", format!("Bearer {key}"));
    let request =
        idempotency_key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    request.body(body).unwrap()
}

pub(crate) async fn trigger(
    test: &TestApi,
    pipeline: PipelineId,
    key: Option<&str>,
    body: Value,
) -> TestResponse {
    test.raw(request(pipeline, EDITOR, key, &body)).await
}

#[tokio::test]
async fn a_triggered_run_is_readable_at_once() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let body =
        json!({"conf": {"day": "2026-01-01"}, "logical_date": "2026-01-01T00:00:00Z", "note": "once more"});
    let created = trigger(&test, pipeline, None, body).await.expect(201);
    assert_eq!(
        (&created["status"], &created["conf"], &created["triggered_by"]["name"]),
        (&json!("queued"), &json!({"day": "2026-01-01"}), &json!("Edith"))
    );
    assert_eq!(created["logical_date"], "2026-01-01T00:00:00Z");
    let id = created["id"].as_str().unwrap();
    assert_eq!(id, RunId::of(test.connector, "p", created["external_id"].as_str().unwrap()).to_string());
    assert_eq!(test.read(&format!("/runs/{id}")).await, created);
    let note = fake.triggered_runs()[0]["note"].as_str().unwrap().to_owned();
    assert!(
        note.starts_with("once more\n\nTriggered by Edith through Orchestration, space finance"),
        "{note}"
    );
    let detail: Value = sqlx::query_scalar("select convert_from(payload, 'UTF8')::jsonb from outbox")
        .fetch_one(&test.db)
        .await
        .unwrap();
    assert_eq!((&detail["id"], &detail["triggered_by"]["name"]), (&created["id"], &json!("Edith")));
    let by = created["triggered_by"]["id"].as_str().unwrap();
    assert_eq!(test.read(&format!("/runs?triggered_by={by}")).await[0]["id"], created["id"]);
    trigger(&test, pipeline, None, Value::Null).await.expect(201);
    let named = trigger(&test, pipeline, None, json!({"run_id": "mine"})).await.expect(201);
    assert_eq!(named["external_id"], "mine");
    assert_eq!(fake.triggered_runs().len(), 3);
}

#[tokio::test]
async fn the_event_of_a_triggered_run_belongs_to_the_callers_trace() {
    let (test, _fake, pipeline) = start_test(ApiSetup::default()).await;
    let mut request = request(pipeline, EDITOR, None, &Value::Null);
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", given.parse().unwrap());
    test.raw(request).await.expect(201);
    let headers: Value = sqlx::query_scalar("select headers from outbox").fetch_one(&test.db).await.unwrap();
    let traceparent = headers.as_array().unwrap().iter().find(|header| header[0] == "traceparent");
    assert!(
        traceparent.unwrap()[1].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"),
        "{headers}"
    );
}

#[tokio::test]
async fn a_repeated_idempotency_key_returns_the_first_outcome() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let body = json!({"conf": {"a": 1, "b": 2}});
    let first = trigger(&test, pipeline, Some("k1"), body.clone()).await.expect(201);
    test.sql("update runs set status = 'success', version = version + 1").await;
    assert_eq!(trigger(&test, pipeline, Some("k1"), body).await.expect(201), first);
    let other = trigger(&test, pipeline, Some("k1"), json!({"conf": {"a": 2}})).await;
    assert_eq!(other.field_errors(), [("body".to_owned(), "value_error.idempotency_key".to_owned())]);
    trigger(&test, pipeline, Some("k2"), json!({})).await.expect(201);
    test.raw(request(pipeline, OTHER_EDITOR, Some("k1"), &Value::Null)).await.expect(201);
    assert_eq!(fake.trigger_requests(), 3);
    test.sql("update pipelines set is_active = false").await;
    trigger(&test, pipeline, Some("k2"), Value::Null).await.expect(201);
    trigger(&test, pipeline, Some("k3"), Value::Null).await.expect(409);
    test.sql(
        "update pipelines set is_active = true; update triggers set created_at = now() - interval '25 hours'",
    )
    .await;
    trigger(&test, pipeline, Some("k1"), json!({"conf": {"a": 2}})).await.expect(201);
    assert_eq!(fake.triggered_runs().len(), 4);
    for failure in ["", &"x".repeat(256)] {
        trigger(&test, pipeline, Some(failure), Value::Null).await.expect(400);
    }
}

#[tokio::test]
async fn concurrent_triggers_with_one_idempotency_key_create_one_run() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    fake.set_behavior(TriggerBehavior::CreateSlowly);
    let responses =
        futures::future::join_all((0..5).map(|_| trigger(&test, pipeline, Some("k"), Value::Null))).await;
    let ids: std::collections::BTreeSet<_> =
        responses.into_iter().map(|response| response.expect(201)["id"].to_string()).collect();
    assert_eq!((ids.len(), fake.trigger_requests()), (1, 1));
}

#[tokio::test]
async fn a_rejection_has_the_status_of_the_provider() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    for code in [400, 403, 404, 409, 422, 429, 500] {
        fake.set_behavior(TriggerBehavior::Reject(code));
        let key = format!("k{code}");
        let rejected = trigger(&test, pipeline, Some(&key), Value::Null).await;
        assert_eq!(rejected.status.as_u16(), code);
        assert_eq!(
            (&rejected.body["provider"], &rejected.body["provider_status"]),
            (&json!("airflow"), &json!(code))
        );
        let detail = rejected.body["detail"].as_str().unwrap();
        assert!(code >= 500 || detail == "Not like this", "{code}: {detail}");
        fake.set_behavior(TriggerBehavior::Create);
        // A permanent rejection is repeated; after a temporary one, the provider is called again.
        let again = if matches!(code, 403 | 429 | 500) { 201 } else { code };
        trigger(&test, pipeline, Some(&key), Value::Null).await.expect(again);
    }
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    let wrong_password =
        json!({"credentials": {"auth_type": "basic", "username": "svc", "password": "wrong"}});
    test.send(Method::PATCH, EDITOR, &path, Some(wrong_password)).await.expect(200);
    let rejected = trigger(&test, pipeline, None, Value::Null).await.expect(401);
    assert_eq!(
        rejected,
        json!({"detail": "Invalid credentials", "provider": "airflow", "provider_status": 401})
    );
}

/// Bodies of real servers, and of proxies before them.
#[tokio::test]
async fn every_form_of_a_rejection_becomes_one_sentence_with_its_status() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    for (code, detail, expected) in [
        (
            409,
            include_str!("../../../shared/provider/tests/fixtures/airflow-3.3/trigger_duplicate.json"),
            "A run with this run id or this logical date exists already",
        ),
        (
            422,
            include_str!("../../../shared/provider/tests/fixtures/airflow-3.3/trigger_bad_conf.json"),
            "conf: Input should be a valid dictionary",
        ),
        (
            404,
            include_str!("../../../shared/provider/tests/fixtures/airflow-3.3/trigger_no_dag.json"),
            "Dag with dag_id: 'nope' not found",
        ),
        (
            401,
            include_str!("../../../shared/provider/tests/fixtures/airflow-3.3/not_authenticated.json"),
            "Not authenticated",
        ),
        (400, "<html><title>Bad Request</title></html>", "a page titled \"Bad Request\""),
        (403, "", "no reason given"),
        (418, "plain text", "plain text"),
    ] {
        fake.set_behavior(TriggerBehavior::RejectWith(code, detail));
        let rejected = trigger(&test, pipeline, None, Value::Null).await.expect(code);
        assert_eq!(
            rejected,
            json!({"detail": expected, "provider": "airflow", "provider_status": code}),
            "{detail}"
        );
    }
    // A 401 for the API's own key does not name the provider.
    let own_rejection = test.raw(request(pipeline, "qk_wrong", None, &Value::Null)).await.expect(401);
    assert!(own_rejection.get("provider").is_none());
}

#[tokio::test]
async fn an_unknown_outcome_is_looked_up_at_the_provider() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    for behavior in [TriggerBehavior::CreateAndDisconnect, TriggerBehavior::CreateAndFail] {
        fake.set_behavior(behavior);
        let created = trigger(&test, pipeline, None, Value::Null).await.expect(201);
        assert_eq!(created["triggered_by"]["name"], "Edith");
    }
    assert_eq!(fake.triggered_runs().len(), 2);
    fake.set_behavior(TriggerBehavior::Disconnect);
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    fake.set_behavior(TriggerBehavior::Create);
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.triggered_runs().len(), 3);
}

/// Triggers with the idempotency key `k`: the provider creates a run, but its response is lost. The run's
/// external id.
async fn trigger_with_unknown_outcome(test: &TestApi, fake: &FakeAirflow, pipeline: PipelineId) -> String {
    fake.set_behavior(TriggerBehavior::DisconnectAlways);
    trigger(test, pipeline, Some("k"), Value::Null).await.expect(504);
    let run: String =
        sqlx::query_scalar("select run_external_id from triggers").fetch_one(&test.db).await.unwrap();
    fake.add_run(&run, "made by the first attempt");
    fake.set_behavior(TriggerBehavior::Create);
    run
}

#[tokio::test]
async fn a_repeat_after_an_unknown_outcome_finds_the_first_run() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let run = trigger_with_unknown_outcome(&test, &fake, pipeline).await;
    let posts = fake.trigger_requests();
    let created = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!((created["external_id"].as_str().unwrap(), fake.trigger_requests()), (run.as_str(), posts));
}

#[tokio::test]
async fn an_unknown_outcome_stays_unknown_until_the_provider_can_be_read() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    trigger_with_unknown_outcome(&test, &fake, pipeline).await;
    set_password(&test, "wrong").await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    trigger(&test, pipeline, Some("new"), Value::Null).await.expect(401);
    trigger(&test, pipeline, Some("new"), Value::Null).await.expect(401);
    test.sql("update connectors set credentials_sealed = 'broken'").await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    trigger(&test, pipeline, Some("new"), Value::Null).await.expect(502);
    test.sql("update pipelines set is_active = false").await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    trigger(&test, pipeline, Some("new"), Value::Null).await.expect(409);
    test.sql("update pipelines set is_active = true").await;
    set_password(&test, "right").await;
    let posts = fake.trigger_requests();
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.trigger_requests(), posts);
    trigger(&test, pipeline, Some("new"), Value::Null).await.expect(201);
}

#[tokio::test]
async fn a_provider_that_hangs_before_the_trigger_is_sent_gets_a_502() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (test, _fake, pipeline) =
        start_test(ApiSetup { request_timeout: Duration::from_secs(8), ..ApiSetup::default() }).await;
    let config = format!(r#"{{"base_url": "http://{}"}}"#, listener.local_addr().unwrap());
    test.sql(&format!("update connectors set config = '{config}'")).await;
    let detail = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(502);
    assert!(detail["detail"].as_str().unwrap().contains("nothing was sent"), "{detail}");
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}/test", test.connector);
    let tested = test.send(Method::POST, EDITOR, &path, None).await.expect(200);
    assert_eq!(tested["success"], false);
    assert!(tested["message"].as_str().unwrap().contains("no complete answer within"), "{tested}");
}

#[tokio::test]
async fn an_existing_run_of_the_same_name_is_a_conflict() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    fake.add_run("taken", "by hand");
    let rejected = trigger(&test, pipeline, Some("k"), json!({"run_id": "taken"})).await.expect(409);
    assert_eq!(
        (&rejected["provider_status"], &rejected["detail"]),
        (&json!(409), &json!("A run with this run id or this logical date exists already"))
    );
    assert_eq!(test.number("select count(*) from runs").await, 0);
}

#[tokio::test]
async fn an_unreachable_provider_gets_a_502_and_a_retry_is_sent() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    test.sql(r#"update connectors set config = '{"base_url": "http://127.0.0.1:9"}'"#).await;
    let response = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(502);
    assert!(response["detail"].as_str().unwrap().contains("cannot be reached"));
    test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.trigger_requests(), 1);
}

#[tokio::test]
async fn a_trigger_is_completed_after_its_client_disconnects() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    fake.set_behavior(TriggerBehavior::CreateSlowly);
    let request = trigger(&test, pipeline, Some("k"), Value::Null);
    assert!(tokio::time::timeout(Duration::from_millis(500), request).await.is_err());
    let created = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!((fake.trigger_requests(), test.number("select count(*) from runs").await), (1, 1));
    assert_eq!(test.read(&format!("/runs/{}", created["id"].as_str().unwrap())).await["status"], "queued");
}

#[tokio::test]
async fn a_slow_provider_gets_a_504_and_a_retry_finds_the_run() {
    let (test, fake, pipeline) =
        start_test(ApiSetup { request_timeout: Duration::from_millis(1500), ..ApiSetup::default() }).await;
    fake.set_behavior(TriggerBehavior::CreateSlowly);
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.trigger_requests(), 1);
}

/// The trigger's own time-out leaves time to look the run up before the response is due.
#[tokio::test]
async fn a_provider_that_makes_the_run_and_hangs_gets_a_201() {
    let (test, fake, pipeline) =
        start_test(ApiSetup { request_timeout: Duration::from_secs(8), ..ApiSetup::default() }).await;
    fake.set_behavior(TriggerBehavior::CreateAndHang);
    let created = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(created["external_id"], fake.triggered_runs()[0]["dag_run_id"]);
    assert_eq!(fake.trigger_requests(), 1);
}

#[tokio::test]
async fn invalid_triggers_are_rejected_before_anything_is_sent() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let invalid = json!({"conf": [1], "logical_date": "tomorrow", "run_id": "a b", "note": "x".repeat(701)});
    let locations: Vec<_> = trigger(&test, pipeline, None, invalid)
        .await
        .field_errors()
        .into_iter()
        .map(|(location, _)| location)
        .collect();
    assert_eq!(locations, ["body.conf", "body.logical_date", "body.run_id", "body.note"]);
    // As a segment of a URL's path, these would change the path.
    for segment in [".", ".."] {
        let elsewhere = trigger(&test, pipeline, None, json!({"run_id": segment})).await;
        assert_eq!(
            elsewhere.field_errors(),
            [("body.run_id".to_owned(), "value_error.str.regex".to_owned())]
        );
    }
    trigger(&test, pipeline, None, json!({"run_id": "..."})).await.expect(201);
    test.sql("update connectors set connector_type = 'dbt'").await;
    trigger(&test, pipeline, None, Value::Null).await.expect(400);
    test.sql("update connectors set connector_type = 'airflow'; update pipelines set is_active = false")
        .await;
    assert_eq!(
        trigger(&test, pipeline, None, Value::Null).await.expect(409),
        json!({"detail": "The pipeline is no longer active"})
    );
    test.sql("update pipelines set is_active = true; update connectors set is_active = false").await;
    assert_eq!(
        trigger(&test, pipeline, None, Value::Null).await.expect(409),
        json!({"detail": "The connector is switched off"})
    );
    assert_eq!(fake.trigger_requests(), 1);
}

#[tokio::test]
async fn credentials_that_no_key_opens_get_a_502_and_nothing_is_sent() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    test.sql("update connectors set credentials_sealed = 'broken'").await;
    let detail = trigger(&test, pipeline, None, Value::Null).await.expect(502);
    assert!(detail["detail"].as_str().unwrap().contains("enter them again"), "{detail}");
    assert_eq!(fake.trigger_requests(), 0);
}
