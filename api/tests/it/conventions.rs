//! What holds for every request: errors, limits, conditional reads, browsers, time-outs.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::seed::{ADMIN, EDITOR, VIEWER, hours_ago};

fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header("authorization", format!("Bearer {EDITOR}"))
}

#[tokio::test]
async fn unknown_routes_and_wrong_methods_are_told_in_json() {
    let test = TestApi::new().await;
    for path in [
        "/",
        "/api/v1.0",
        "/api/v1.0/nothing",
        "/api/v1.0/me/",
        "/api/v1.0/spaces/finance/orchestration",
        "/%ff",
    ] {
        let answer = test.raw(request("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.body, json!({"detail": "Route not found"}), "{path}");
        assert_eq!(answer.status, 404);
    }
    let answer = test.raw(request("DELETE", "/api/v1.0/me").body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET,HEAD"));
    assert!(answer.body["detail"].is_string());
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_challenged() {
    let test = TestApi::new().await;
    for header in
        [None, Some("Bearer"), Some("Bearer x"), Some("Basic cWs6"), Some("qk_ada"), Some("Bearer qk_\u{e9}")]
    {
        let request = Request::builder().uri("/api/v1.0/me");
        let request =
            header.into_iter().fold(request, |request, header| request.header("authorization", header));
        let answer = test.raw(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("www-authenticate")),
            (401, "Bearer"),
            "{header:?}"
        );
    }
    let request = Request::builder().uri("/api/v1.0/me").header("authorization", format!("bearer {ADMIN}"));
    assert_eq!(test.raw(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn bodies_are_checked() {
    let test = TestApi::new().await;
    let run = test.run(test.pipeline("p").await, "r", "success", hours_ago(1)).await;
    let path = format!("/api/v1.0/spaces/{SPACE}/orchestration/runs/{run}/comments");
    for (body, code) in [
        ("", 400),
        ("{", 400),
        ("not json", 400),
        (r#"{"content": "\ud800"}"#, 400),
        ("[]", 422),
        ("null", 422),
        (r#""text""#, 422),
        ("{}", 422),
        (r#"{"content": null}"#, 422),
        (r#"{"content": 1}"#, 422),
        (r#"{"content": "  \n "}"#, 422),
        (r#"{"content": "a\u0000b"}"#, 422),
        (r#"{"content": "fine", "unknown": 1}"#, 201),
    ] {
        let answer = test.raw(request("POST", &path).body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), code, "{body:?}: {}", answer.body);
        assert!(code == 201 || !answer.body["detail"].is_null());
    }
    let deep = "[".repeat(100_000 - 20);
    let answer = test.raw(request("POST", &path).body(Body::from(deep)).unwrap()).await;
    assert_eq!(answer.status, 400);
    let large = json!({"content": "x".repeat(200_000)}).to_string();
    for announced in [true, false] {
        let mut request = request("POST", &path);
        if announced {
            request = request.header("content-length", large.len());
        }
        let answer = test.raw(request.body(Body::from(large.clone())).unwrap()).await;
        assert_eq!(answer.status, 413);
        assert!(answer.body["detail"].is_string());
    }
    assert_eq!(test.number("select count(*) from comments").await, 1);
}

#[tokio::test]
async fn a_request_has_an_id_its_own_if_it_is_sane() {
    let test = TestApi::new().await;
    let own = test
        .raw(request("GET", "/api/v1.0/me").header("x-request-id", "my-id").body(Body::empty()).unwrap())
        .await;
    assert_eq!(own.header("x-request-id"), "my-id");
    let insane = test
        .raw(request("GET", "/nowhere").header("x-request-id", "a b\t").body(Body::empty()).unwrap())
        .await;
    assert_eq!(insane.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn requests_are_limited_by_key_and_say_so() {
    let test = TestApi::with(ApiSetup { limits: (3, 0), ..ApiSetup::default() }).await;
    for left in ["2", "1", "0"] {
        let answer = test.get("/me").await;
        assert_eq!((answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining")), ("3", left));
        assert!(answer.header("x-ratelimit-reset").parse::<i64>().unwrap() > 0);
        assert_eq!(answer.status, 200);
    }
    let refused = test.get("/me").await;
    assert_eq!((refused.status.as_u16(), refused.header("x-ratelimit-remaining")), (429, "0"));
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u64>().unwrap()));
    assert!(refused.body["detail"].is_string());
    assert_eq!(test.send(Method::GET, EDITOR, "/me", None).await.status, 200);
    assert_eq!(test.get("/nowhere").await.header("x-ratelimit-limit"), "");
}

#[tokio::test]
async fn a_page_is_sent_again_when_its_total_has_changed() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    test.run(pipeline, "newer", "success", hours_ago(5)).await;
    let path = format!("/api/v1.0/spaces/{SPACE}/orchestration/runs?size=1");
    let tag = test.raw(request("GET", &path).body(Body::empty()).unwrap()).await.header("etag").to_owned();
    test.run(pipeline, "older", "failed", hours_ago(9)).await;
    let changed = request("GET", &path).header("if-none-match", &tag).body(Body::empty()).unwrap();
    assert_eq!(test.raw(changed).await.status, 200);
}

#[tokio::test]
async fn browsers_are_let_in_from_the_origins_that_are_set_and_no_others() {
    let preflight = |origin: &str| {
        Request::builder()
            .method("OPTIONS")
            .uri("/api/v1.0/me")
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
            .body(Body::empty())
            .unwrap()
    };
    let open = TestApi::with(ApiSetup { origins: vec!["https://ui.example"], ..ApiSetup::default() }).await;
    let answer = open.raw(preflight("https://ui.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://ui.example");
    assert!(answer.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(open.raw(preflight("https://evil.example")).await.header("access-control-allow-origin"), "");
    let read =
        request("GET", "/api/v1.0/me").header("origin", "https://ui.example").body(Body::empty()).unwrap();
    assert!(open.raw(read).await.header("access-control-expose-headers").contains("x-total-count"));
    let closed = TestApi::new().await;
    let answer = closed.raw(preflight("https://ui.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_slow_request_is_given_up_and_the_next_one_is_answered() {
    let test =
        TestApi::with(ApiSetup { request_timeout: Duration::from_millis(400), ..ApiSetup::default() }).await;
    let mut lock = test.db.begin().await.unwrap();
    sqlx::query("lock table teams in access exclusive mode").execute(&mut *lock).await.unwrap();
    let answer = test.get(&format!("/spaces/{SPACE}/teams")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "2"));
    assert!(answer.body["detail"].is_string());
    lock.rollback().await.unwrap();
    test.get(&format!("/spaces/{SPACE}/teams")).await.expect(200);
}

#[tokio::test]
async fn a_database_that_is_away_is_told_and_no_more() {
    let test = TestApi::new().await;
    test.app.db.close().await;
    for path in ["/me".to_owned(), format!("/spaces/{SPACE}/orchestration/runs")] {
        let answer = test.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "2"));
        assert_eq!(answer.body, json!({"detail": "The database does not answer; try again in a moment"}));
    }
    let ready = test.raw(Request::builder().uri("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body["detail"], "PostgreSQL and Kafka do not answer; try again in a moment");
    assert_eq!(test.raw(Request::builder().uri("/health").body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_statement_that_fails_shows_nothing_of_itself() {
    let test = TestApi::new().await;
    test.sql("alter table teams rename to hidden").await;
    let answer = test.get(&format!("/spaces/{SPACE}/teams")).await;
    assert_eq!(answer.status, 500);
    let said = answer.body["detail"].as_str().unwrap();
    assert!(!said.contains("teams") && !said.contains("select"), "{said}");
}

#[tokio::test]
async fn a_stopping_service_is_not_ready_and_goes_on_answering() {
    let test = TestApi::new().await;
    test.app.stopping.cancel();
    let ready = test.raw(Request::builder().uri("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status, 503);
    assert!(ready.body["detail"].as_str().unwrap().contains("stopping"));
    test.send(Method::GET, VIEWER, "/me", None).await.expect(200);
}

#[tokio::test]
async fn teams_are_listed_by_name() {
    let test = TestApi::new().await;
    test.sql("insert into teams (id, space_id, name) select gen_random_uuid(), id, 'Data' from spaces where slug = 'finance'").await;
    let answer = test.get(&format!("/spaces/{SPACE}/teams?size=1&page=2")).await;
    assert_eq!((answer.header("x-total-count"), answer.header("x-total-pages")), ("2", "2"));
    assert_eq!(answer.body, json!([{"id": test.team, "name": "Finance data"}]));
}
