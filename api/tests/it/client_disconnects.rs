//! A request is atomic even if its client disconnects. The server drops the future of such a request, as
//! these tests do: after one poll of it, after two, and so on until one completes.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use testkit::FakeAirflow;

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::assertions::field_of_each;
use crate::seed::{EDITOR, comment, hours_ago};

fn post(path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method("POST")
        .uri(format!("/api/v1.0/spaces/{SPACE}/orchestration{path}"))
        .header("authorization", format!("Bearer {EDITOR}"))
}

#[tokio::test]
async fn an_abandoned_trigger_is_executed_once_and_its_outcome_is_found_by_a_retry() {
    let test = TestApi::with(ApiSetup::default()).await;
    let fake = FakeAirflow::start(0).await;
    test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    let path = format!("/pipelines/{}/trigger", test.pipeline("p").await);
    let request = |polls: usize| {
        let key = format!("key {polls}");
        post(&path).header("idempotency-key", key).body(Body::empty()).unwrap()
    };
    let mut polls = 0;
    while !test.abandon(request(polls), polls).await {
        test.raw(request(polls)).await.expect(201);
        polls += 1;
    }
    // A trigger runs in a task of its own, so that few polls suffice.
    assert!(polls > 0, "no request was abandoned");
    assert_eq!(fake.trigger_requests(), polls + 1);
    assert_eq!(test.number("select count(*) from runs").await, i64::try_from(polls).unwrap() + 1);
    assert_eq!(test.number("select count(*) from triggers where answer_status is null").await, 0);
}

#[tokio::test]
async fn an_abandoned_comment_is_stored_completely_or_not_at_all() {
    let test = TestApi::new().await;
    let run = test.run(test.pipeline("p").await, "r", "failed", hours_ago(1)).await;
    let path = format!("/runs/{run}/comments");
    let request = |polls: usize| {
        let body = comment(&format!("comment {polls}"));
        post(&path).body(Body::from(body.to_string())).unwrap()
    };
    let mut polls = 0;
    while !test.abandon(request(polls), polls).await {
        polls += 1;
    }
    assert!(polls > 1, "{polls} requests were abandoned");
    let last = test.request(Method::POST, EDITOR, &path, comment("last")).await.expect(201);
    let list = test.read(&path).await;
    let contents = field_of_each(&list, "content");
    assert!(
        contents.contains(&format!("comment {polls}").as_str()) && contents.contains(&"last"),
        "{contents:?}"
    );
    let distinct: std::collections::BTreeSet<_> = contents.iter().collect();
    assert_eq!(distinct.len(), contents.len(), "{contents:?}");
    assert!(
        contents.iter().all(|content| content.starts_with("comment ") || *content == "last"),
        "{contents:?}"
    );
    for created in list.as_array().unwrap() {
        assert_eq!((&created["author"], &created["run_id"]), (&last["author"], &json!(run)));
    }
    assert_eq!(test.read(&format!("/runs/{run}")).await["comment_count"], json!(contents.len()));
}

#[tokio::test]
async fn an_abandoned_sync_request_is_stored_with_its_record_or_not_at_all() {
    let test = TestApi::new().await;
    let path = format!("/connectors/{}/sync", test.connector);
    let mut polls = 0;
    let incomplete = "select count(*) from (
        select id::text from syncs except all select convert_from(payload, 'UTF8')::jsonb ->> 'id' from outbox
            where topic::text like '%sync-requests%'
        union all
        (select convert_from(payload, 'UTF8')::jsonb ->> 'id' from outbox where topic::text like
        '%sync-requests%' except all select id::text from syncs)) torn";
    while !test.abandon(post(&path).body(Body::empty()).unwrap(), polls).await {
        assert_eq!(test.number(incomplete).await, 0, "incomplete after {polls} polls");
        // The next request must not join a sync that this one has stored.
        test.sql("update syncs set status = 'failed'").await;
        polls += 1;
    }
    assert!(polls > 3, "{polls} requests were abandoned");
    test.request(Method::POST, EDITOR, &path, Value::Null).await.expect(202);
    assert_eq!(test.number(incomplete).await, 0);
    assert_eq!(test.number("select count(*) from syncs where status = 'queued'").await, 1);
}
