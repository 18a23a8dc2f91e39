//! Triggering: at most one run for a command, and its outcome told as it is.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use contract::ids::{PipelineId, RunId};
use serde_json::{Value, json};
use testkit::{FakeAirflow, TriggerBehavior};

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::client::TestResponse;
use crate::seed::{EDITOR, OTHER_EDITOR};

/// A test whose connector leads to a fake.
async fn test(setup: ApiSetup) -> (TestApi, FakeAirflow, PipelineId) {
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

pub async fn trigger(test: &TestApi, pipeline: PipelineId, key: Option<&str>, body: Value) -> TestResponse {
    test.raw(request(pipeline, EDITOR, key, &body)).await
}

#[tokio::test]
async fn a_run_is_made_and_readable_at_once() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    let body =
        json!({"conf": {"day": "2026-01-01"}, "logical_date": "2026-01-01T00:00:00Z", "note": "once more"});
    let made = trigger(&test, pipeline, None, body).await.expect(201);
    assert_eq!(
        (&made["status"], &made["conf"], &made["triggered_by"]["name"]),
        (&json!("queued"), &json!({"day": "2026-01-01"}), &json!("Edith"))
    );
    assert_eq!(made["logical_date"], "2026-01-01T00:00:00Z");
    let id = made["id"].as_str().unwrap();
    assert_eq!(id, RunId::of(test.connector, "p", made["external_id"].as_str().unwrap()).to_string());
    assert_eq!(test.read(&format!("/runs/{id}")).await, made);
    let note = fake.triggered_runs()[0]["note"].as_str().unwrap().to_owned();
    assert!(
        note.starts_with("once more\n\nTriggered by Edith through Orchestration, space finance"),
        "{note}"
    );
    let said: Value = sqlx::query_scalar("select convert_from(payload, 'UTF8')::jsonb from outbox")
        .fetch_one(&test.db)
        .await
        .unwrap();
    assert_eq!((&said["id"], &said["triggered_by"]["name"]), (&made["id"], &json!("Edith")));
    let by = made["triggered_by"]["id"].as_str().unwrap();
    assert_eq!(test.read(&format!("/runs?triggered_by={by}")).await[0]["id"], made["id"]);
    trigger(&test, pipeline, None, Value::Null).await.expect(201);
    let named = trigger(&test, pipeline, None, json!({"run_id": "mine"})).await.expect(201);
    assert_eq!(named["external_id"], "mine");
    assert_eq!(fake.triggered_runs().len(), 3);
}

#[tokio::test]
async fn the_event_of_a_triggered_run_belongs_to_the_callers_trace() {
    let (test, _fake, pipeline) = test(ApiSetup::default()).await;
    let mut request = request(pipeline, EDITOR, None, &Value::Null);
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.headers_mut().insert("traceparent", given.parse().unwrap());
    test.raw(request).await.expect(201);
    let headers: Value = sqlx::query_scalar("select headers from outbox").fetch_one(&test.db).await.unwrap();
    let led_by = headers.as_array().unwrap().iter().find(|header| header[0] == "traceparent");
    assert!(led_by.unwrap()[1].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{headers}");
}

#[tokio::test]
async fn the_same_key_is_the_same_command() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
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
    for bad in ["", &"x".repeat(256)] {
        trigger(&test, pipeline, Some(bad), Value::Null).await.expect(400);
    }
}

#[tokio::test]
async fn many_at_once_with_one_key_are_one_run() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    fake.set_behavior(TriggerBehavior::CreateSlowly);
    let all =
        futures::future::join_all((0..5).map(|_| trigger(&test, pipeline, Some("k"), Value::Null))).await;
    let ids: std::collections::BTreeSet<_> =
        all.into_iter().map(|answer| answer.expect(201)["id"].to_string()).collect();
    assert_eq!((ids.len(), fake.trigger_requests()), (1, 1));
}

#[tokio::test]
async fn a_refusal_is_the_providers_own() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    for code in [400, 403, 404, 409, 422, 429, 500] {
        fake.set_behavior(TriggerBehavior::Reject(code));
        let key = format!("k{code}");
        let refused = trigger(&test, pipeline, Some(&key), Value::Null).await;
        assert_eq!(refused.status.as_u16(), code);
        assert_eq!(
            (&refused.body["provider"], &refused.body["provider_status"]),
            (&json!("airflow"), &json!(code))
        );
        let said = refused.body["detail"].as_str().unwrap();
        assert!(code >= 429 || said == "Not like this", "{said}");
        fake.set_behavior(TriggerBehavior::Create);
        // What was refused for good is refused again; what may be otherwise a moment later is asked again.
        let again = if matches!(code, 403 | 429 | 500) { 201 } else { code };
        trigger(&test, pipeline, Some(&key), Value::Null).await.expect(again);
    }
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}", test.connector);
    let wrong = json!({"credentials": {"auth_type": "basic", "username": "svc", "password": "wrong"}});
    test.send(Method::PATCH, EDITOR, &path, Some(wrong)).await.expect(200);
    let refused = trigger(&test, pipeline, None, Value::Null).await.expect(401);
    assert_eq!(
        refused,
        json!({"detail": "Invalid credentials", "provider": "airflow", "provider_status": 401})
    );
}

/// As real servers said them, and as something before them might.
#[tokio::test]
async fn every_shape_of_a_refusal_is_told_with_its_code_in_one_sentence() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    for (code, said, told) in [
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
        fake.set_behavior(TriggerBehavior::RejectWith(code, said));
        let refused = trigger(&test, pipeline, None, Value::Null).await.expect(code);
        assert_eq!(
            refused,
            json!({"detail": told, "provider": "airflow", "provider_status": code}),
            "{said}"
        );
    }
    // A key that is wrong here is not the provider's: it says so.
    let ours = test.raw(request(pipeline, "qk_wrong", None, &Value::Null)).await.expect(401);
    assert!(ours.get("provider").is_none());
}

#[tokio::test]
async fn a_broken_answer_is_looked_up_before_it_is_told() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    for mood in [TriggerBehavior::CreateAndDisconnect, TriggerBehavior::CreateAndFail] {
        fake.set_behavior(mood);
        let made = trigger(&test, pipeline, None, Value::Null).await.expect(201);
        assert_eq!(made["triggered_by"]["name"], "Edith");
    }
    assert_eq!(fake.triggered_runs().len(), 2);
    fake.set_behavior(TriggerBehavior::Disconnect);
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    fake.set_behavior(TriggerBehavior::Create);
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.triggered_runs().len(), 3);
}

/// Triggers with the key `k`: a run is made, and nobody hears of it. Its provider's id.
async fn lose_sight(test: &TestApi, fake: &FakeAirflow, pipeline: PipelineId) -> String {
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
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    let run = lose_sight(&test, &fake, pipeline).await;
    let posts = fake.trigger_requests();
    let made = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!((made["external_id"].as_str().unwrap(), fake.trigger_requests()), (run.as_str(), posts));
}

#[tokio::test]
async fn an_unknown_outcome_stays_unknown_until_it_can_be_asked_for() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    lose_sight(&test, &fake, pipeline).await;
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
async fn a_provider_that_hangs_before_anything_is_sent_is_told_so() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (test, _fake, pipeline) =
        test(ApiSetup { request_timeout: Duration::from_secs(8), ..ApiSetup::default() }).await;
    let config = format!(r#"{{"base_url": "http://{}"}}"#, silent.local_addr().unwrap());
    test.sql(&format!("update connectors set config = '{config}'")).await;
    let said = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(502);
    assert!(said["detail"].as_str().unwrap().contains("nothing was sent"), "{said}");
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}/test", test.connector);
    let tested = test.send(Method::POST, EDITOR, &path, None).await.expect(200);
    assert_eq!(tested["success"], false);
    assert!(tested["message"].as_str().unwrap().contains("no answer within"), "{tested}");
}

#[tokio::test]
async fn somebody_elses_run_of_the_same_name_is_not_ours() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    fake.add_run("taken", "by hand");
    let refused = trigger(&test, pipeline, Some("k"), json!({"run_id": "taken"})).await.expect(409);
    assert_eq!(
        (&refused["provider_status"], &refused["detail"]),
        (&json!(409), &json!("A run with this run id or this logical date exists already"))
    );
    assert_eq!(test.number("select count(*) from runs").await, 0);
}

#[tokio::test]
async fn nothing_sent_is_told_apart() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    test.sql(r#"update connectors set config = '{"base_url": "http://127.0.0.1:9"}'"#).await;
    let answer = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(502);
    assert!(answer["detail"].as_str().unwrap().contains("cannot be reached"));
    test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.trigger_requests(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_half_done() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    fake.set_behavior(TriggerBehavior::CreateSlowly);
    let asked = trigger(&test, pipeline, Some("k"), Value::Null);
    assert!(tokio::time::timeout(Duration::from_millis(500), asked).await.is_err());
    let made = trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!((fake.trigger_requests(), test.number("select count(*) from runs").await), (1, 1));
    assert_eq!(test.read(&format!("/runs/{}", made["id"].as_str().unwrap())).await["status"], "queued");
}

#[tokio::test]
async fn a_provider_that_takes_too_long_is_told_as_unknown_and_found_later() {
    let (test, fake, pipeline) =
        test(ApiSetup { request_timeout: Duration::from_millis(1500), ..ApiSetup::default() }).await;
    fake.set_behavior(TriggerBehavior::CreateSlowly);
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(504);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    trigger(&test, pipeline, Some("k"), Value::Null).await.expect(201);
    assert_eq!(fake.trigger_requests(), 1);
}

#[tokio::test]
async fn what_cannot_be_triggered_is_refused() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    let faulty = json!({"conf": [1], "logical_date": "tomorrow", "run_id": "a b", "note": "x".repeat(701)});
    let places: Vec<_> = trigger(&test, pipeline, None, faulty)
        .await
        .field_errors()
        .into_iter()
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places, ["body.conf", "body.logical_date", "body.run_id", "body.note"]);
    // Between the slashes of an address these would lead elsewhere.
    for place in [".", ".."] {
        let elsewhere = trigger(&test, pipeline, None, json!({"run_id": place})).await;
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
    assert_eq!(fake.trigger_requests(), 1);
}

#[tokio::test]
async fn a_connector_whose_credentials_no_key_opens_says_so_and_sends_nothing() {
    let (test, fake, pipeline) = test(ApiSetup::default()).await;
    test.sql("update connectors set credentials_sealed = 'broken'").await;
    let said = trigger(&test, pipeline, None, Value::Null).await.expect(502);
    assert!(said["detail"].as_str().unwrap().contains("enter them again"), "{said}");
    assert_eq!(fake.trigger_requests(), 0);
}

#[tokio::test]
async fn the_test_of_a_connector_tells_the_version() {
    let (test, fake, _) = test(ApiSetup::default()).await;
    let path = format!("/catalog/spaces/{SPACE}/connectors/{}/test", test.connector);
    let good = test.send(Method::POST, EDITOR, &path, None).await.expect(200);
    assert_eq!((&good["success"], &good["provider_version"]), (&json!(true), &json!("3.1.8")));
    assert!(good["latency_ms"].is_u64());
    drop(fake);
    test.sql("update connectors set credentials_sealed = 'broken'").await;
    let bad = test.send(Method::POST, EDITOR, &path, None).await.expect(200);
    assert_eq!((&bad["success"], &bad["provider_version"]), (&json!(false), &Value::Null));
    assert!(bad["message"].as_str().unwrap().contains("enter them again"), "{bad}");
}
