//! The `conf` of a trigger: it reaches the provider as its client wrote it, or is rejected.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::app::{ApiSetup, SPACE};
use crate::seed::EDITOR;
use crate::trigger::{start_test, trigger};

/// The request's text, in which numbers have digits that a double does not have.
#[tokio::test]
async fn the_numbers_of_a_conf_keep_their_digits_or_are_rejected() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let send = async |conf: &str, key: &str| {
        let path = format!("/api/v1.0/spaces/{SPACE}/orchestration/pipelines/{pipeline}/trigger");
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header("authorization", format!("Bearer {EDITOR}"))
            .header("idempotency-key", key);
        test.respond(request.body(Body::from(format!("{{\"conf\": {conf}}}"))).unwrap()).await
    };
    let conf = r#"{"n": 12345678901234567890123, "m": [0.10000000000000000001, 1e308, -1.50]}"#;
    assert_eq!(send(conf, "k").await.status(), 201);
    assert!(fake.trigger_bodies()[0].contains(conf), "{:?}", fake.trigger_bodies());
    for (conf, key) in
        [(r#"{"n": 12345678901234567890124}"#, "k"), (r#"{"n": 1e309}"#, "x"), (r#"{"n": "\ud800"}"#, "y")]
    {
        assert_eq!(send(conf, key).await.status(), 422, "{conf}");
    }
    // A number in the read model is returned with its digits, too.
    test.sql("update runs set conf = '{\"n\": 12345678901234567890123}'").await;
    let run = test.id("select id from runs").await;
    for path in [format!("/runs/{run}"), "/runs".to_owned()] {
        let request = Request::builder()
            .uri(format!("/api/v1.0/spaces/{SPACE}/orchestration{path}"))
            .header("authorization", format!("Bearer {EDITOR}"));
        let body = test.respond(request.body(Body::empty()).unwrap()).await.into_body();
        let text = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        assert!(text.contains("12345678901234567890123"), "{text}");
    }
}

/// What the next sync could not read is not sent.
#[tokio::test]
async fn a_conf_that_is_nested_too_deep_is_rejected() {
    let (test, fake, pipeline) = start_test(ApiSetup::default()).await;
    let nested = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({"a": inner}));
    trigger(&test, pipeline, None, json!({"conf": nested(101)})).await.expect(422);
    trigger(&test, pipeline, None, json!({"conf": {"a": vec![nested(99)]}})).await.expect(422);
    assert_eq!(fake.trigger_requests(), 0);
    let created = trigger(&test, pipeline, None, json!({"conf": nested(100)})).await.expect(201);
    assert_eq!(created["conf"], nested(100));
}
