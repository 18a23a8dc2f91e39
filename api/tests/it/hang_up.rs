//! A client that hangs up leaves nothing half done, whenever it does. The service drops what it was doing then, as
//! these requests are dropped: after one look at them, after two, and so on until one is through.

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
async fn a_trigger_is_carried_out_once_and_told_to_whoever_asks_again() {
    let test = TestApi::with(ApiSetup::default()).await;
    let fake = FakeAirflow::start(0).await;
    test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    let path = format!("/pipelines/{}/trigger", test.pipeline("p").await);
    let request = |looks: usize| {
        let key = format!("key {looks}");
        post(&path).header("idempotency-key", key).body(Body::empty()).unwrap()
    };
    let mut looks = 0;
    while !test.abandon(request(looks), looks).await {
        test.raw(request(looks)).await.expect(201);
        looks += 1;
    }
    // Once begun it goes on by itself, so there is little to look at.
    assert!(looks > 0, "it was never abandoned");
    assert_eq!(fake.trigger_requests(), looks + 1);
    assert_eq!(test.number("select count(*) from runs").await, i64::try_from(looks).unwrap() + 1);
    assert_eq!(test.number("select count(*) from triggers where answer_status is null").await, 0);
}

#[tokio::test]
async fn a_comment_is_there_whole_or_not_at_all() {
    let test = TestApi::new().await;
    let run = test.run(test.pipeline("p").await, "r", "failed", hours_ago(1)).await;
    let path = format!("/runs/{run}/comments");
    let request = |looks: usize| {
        let body = comment(&format!("comment {looks}"));
        post(&path).body(Body::from(body.to_string())).unwrap()
    };
    let mut looks = 0;
    while !test.abandon(request(looks), looks).await {
        looks += 1;
    }
    assert!(looks > 1, "it was abandoned {looks} times");
    let last = test.request(Method::POST, EDITOR, &path, comment("last")).await.expect(201);
    let list = test.read(&path).await;
    let contents = field_of_each(&list, "content");
    assert!(
        contents.contains(&format!("comment {looks}").as_str()) && contents.contains(&"last"),
        "{contents:?}"
    );
    let distinct: std::collections::BTreeSet<_> = contents.iter().collect();
    assert_eq!(distinct.len(), contents.len(), "{contents:?}");
    assert!(
        contents.iter().all(|content| content.starts_with("comment ") || *content == "last"),
        "{contents:?}"
    );
    for made in list.as_array().unwrap() {
        assert_eq!((&made["author"], &made["run_id"]), (&last["author"], &json!(run)));
    }
    assert_eq!(test.read(&format!("/runs/{run}")).await["comment_count"], json!(contents.len()));
}

#[tokio::test]
async fn a_sync_is_asked_for_with_its_record_or_not_at_all() {
    let test = TestApi::new().await;
    let path = format!("/connectors/{}/sync", test.connector);
    let mut looks = 0;
    let whole = "select count(*) from (
        select id::text from syncs except all select convert_from(payload, 'UTF8')::jsonb ->> 'id' from outbox
            where topic::text like '%sync-requests%'
        union all
        (select convert_from(payload, 'UTF8')::jsonb ->> 'id' from outbox where topic::text like '%sync-requests%'
            except all select id::text from syncs)) torn";
    while !test.abandon(post(&path).body(Body::empty()).unwrap(), looks).await {
        assert_eq!(test.number(whole).await, 0, "torn after {looks} looks");
        // The next one must not be served by what this one left.
        test.sql("update syncs set status = 'failed'").await;
        looks += 1;
    }
    assert!(looks > 3, "it was abandoned {looks} times");
    test.request(Method::POST, EDITOR, &path, Value::Null).await.expect(202);
    assert_eq!(test.number(whole).await, 0);
    assert_eq!(test.number("select count(*) from syncs where status = 'queued'").await, 1);
}
