//! Conventions of every request: errors, rate limits, conditional reads, CORS and timeouts.

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
async fn unknown_routes_and_methods_get_a_json_error() {
    let test = TestApi::new().await;
    for path in [
        "/api",
        "/api/v1.0",
        "/api/v1.0/nothing",
        "/api/v1.0/me/",
        "/api/v1.0/spaces/finance/orchestration",
        "/api/v1.0/%ff",
    ] {
        let response = test.raw(request("GET", path).body(Body::empty()).unwrap()).await;
        assert_eq!(response.body, json!({"detail": "Route not found"}), "{path}");
        assert_eq!(response.status, 404);
    }
    let response = test.raw(request("DELETE", "/api/v1.0/me").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status.as_u16(), response.header("allow")), (405, "GET,HEAD"));
    assert!(response.body["detail"].is_string());
}

#[tokio::test]
async fn a_missing_or_invalid_key_gets_a_401_with_a_challenge() {
    let test = TestApi::new().await;
    for header in
        [None, Some("Bearer"), Some("Bearer x"), Some("Basic cWs6"), Some("qk_ada"), Some("Bearer qk_\u{e9}")]
    {
        let request = Request::builder().uri("/api/v1.0/me");
        let request =
            header.into_iter().fold(request, |request, header| request.header("authorization", header));
        let response = test.raw(request.body(Body::empty()).unwrap()).await;
        assert_eq!(
            (response.status.as_u16(), response.header("www-authenticate")),
            (401, "Bearer"),
            "{header:?}"
        );
    }
    let request = Request::builder().uri("/api/v1.0/me").header("authorization", format!("bearer {ADMIN}"));
    assert_eq!(test.raw(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn request_bodies_are_validated() {
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
        let response = test.raw(request("POST", &path).body(Body::from(body)).unwrap()).await;
        assert_eq!(response.status.as_u16(), code, "{body:?}: {}", response.body);
        assert!(code == 201 || !response.body["detail"].is_null());
    }
    let deep = "[".repeat(60_000);
    let response = test.raw(request("POST", &path).body(Body::from(deep)).unwrap()).await;
    assert_eq!(response.status, 400);
    let large = json!({"content": "x".repeat(200_000)}).to_string();
    for has_content_length in [true, false] {
        let mut request = request("POST", &path);
        if has_content_length {
            request = request.header("content-length", large.len());
        }
        let response = test.raw(request.body(Body::from(large.clone())).unwrap()).await;
        assert_eq!(response.status, 413);
        assert!(response.body["detail"].is_string());
    }
    assert_eq!(test.number("select count(*) from comments").await, 1);
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_post_a_form() {
    let test = TestApi::with(ApiSetup { origins: vec!["https://ui.example"], ..ApiSetup::default() }).await;
    let run = test.run(test.pipeline("p").await, "r", "success", hours_ago(1)).await;
    let path = format!("/api/v1.0/spaces/{SPACE}/orchestration/runs/{run}/comments");
    let (json, form) = ("application/json; charset=utf-8", "text/plain");
    for (headers, status) in [
        (vec![("content-type", form)], 201),
        (vec![("content-type", form), ("sec-fetch-site", "same-origin")], 201),
        (vec![("content-type", form), ("origin", "http://api.example"), ("host", "api.example")], 201),
        (
            vec![("content-type", form), ("origin", "https://ui.example"), ("sec-fetch-site", "same-site")],
            201,
        ),
        (vec![("content-type", json), ("sec-fetch-site", "cross-site")], 201),
        (vec![("content-type", form), ("sec-fetch-site", "cross-site")], 415),
        (vec![("content-type", "application/json-seq"), ("sec-fetch-site", "cross-site")], 415),
        (vec![("sec-fetch-site", "same-site")], 415),
        (vec![("content-type", form), ("origin", "https://evil.example"), ("host", "api.example")], 415),
        (vec![("origin", "null"), ("host", "api.example")], 415),
    ] {
        let request = headers
            .iter()
            .fold(request("POST", &path), |request, (name, value)| request.header(*name, *value));
        let body = json!({"content": "x"}).to_string();
        let response = test.raw(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(response.status.as_u16(), status, "{headers:?}");
    }
}

#[tokio::test]
async fn a_parameter_is_not_repeated_without_bound() {
    let test = TestApi::new().await;
    let runs = |count: usize| {
        format!("/spaces/{SPACE}/orchestration/runs?{}", vec!["status=failed"; count].join("&"))
    };
    test.get(&runs(200)).await.expect(200);
    let faults = test.get(&runs(201)).await.field_errors();
    assert_eq!(faults, [("query.status".to_owned(), "value_error.list.max_items".to_owned())]);
}

#[tokio::test]
async fn a_valid_request_id_is_returned_and_an_invalid_one_is_replaced() {
    let test = TestApi::new().await;
    let valid = test
        .raw(request("GET", "/api/v1.0/me").header("x-request-id", "my-id").body(Body::empty()).unwrap())
        .await;
    assert_eq!(valid.header("x-request-id"), "my-id");
    let invalid = test
        .raw(request("GET", "/api/nowhere").header("x-request-id", "a b\t").body(Body::empty()).unwrap())
        .await;
    assert_eq!(invalid.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn requests_are_rate_limited_by_key_with_headers() {
    let test = TestApi::with(ApiSetup { limits: (3, 0), ..ApiSetup::default() }).await;
    for left in ["2", "1", "0"] {
        let response = test.get("/me").await;
        assert_eq!(
            (response.header("x-ratelimit-limit"), response.header("x-ratelimit-remaining")),
            ("3", left)
        );
        assert!(response.header("x-ratelimit-reset").parse::<i64>().unwrap() > 0);
        assert_eq!(response.status, 200);
    }
    let limited = test.get("/me").await;
    assert_eq!((limited.status.as_u16(), limited.header("x-ratelimit-remaining")), (429, "0"));
    assert!((1..=60).contains(&limited.header("retry-after").parse::<u64>().unwrap()));
    assert!(limited.body["detail"].is_string());
    assert_eq!(test.send(Method::GET, EDITOR, "/me", None).await.status, 200);
    assert_eq!(test.get("/nowhere").await.header("x-ratelimit-limit"), "");
}

#[tokio::test]
async fn the_etag_of_a_page_changes_with_its_total() {
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
async fn cors_allows_only_the_configured_origins() {
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
    let response = open.raw(preflight("https://ui.example")).await;
    assert_eq!(response.header("access-control-allow-origin"), "https://ui.example");
    assert!(response.header("access-control-allow-headers").contains("authorization"));
    assert_eq!(open.raw(preflight("https://evil.example")).await.header("access-control-allow-origin"), "");
    let read =
        request("GET", "/api/v1.0/me").header("origin", "https://ui.example").body(Body::empty()).unwrap();
    assert!(open.raw(read).await.header("access-control-expose-headers").contains("x-total-count"));
    let closed = TestApi::new().await;
    let response = closed.raw(preflight("https://ui.example")).await;
    assert_eq!(response.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn a_slow_request_times_out_and_the_next_one_succeeds() {
    let test =
        TestApi::with(ApiSetup { request_timeout: Duration::from_millis(400), ..ApiSetup::default() }).await;
    let mut lock = test.db.begin().await.unwrap();
    sqlx::query("lock table teams in access exclusive mode").execute(&mut *lock).await.unwrap();
    let response = test.get(&format!("/spaces/{SPACE}/teams")).await;
    assert_eq!((response.status.as_u16(), response.header("retry-after")), (503, "2"));
    assert!(response.body["detail"].is_string());
    lock.rollback().await.unwrap();
    test.get(&format!("/spaces/{SPACE}/teams")).await.expect(200);
}

#[tokio::test]
async fn an_unavailable_database_gets_a_503_without_details() {
    let test = TestApi::new().await;
    test.app.db.close().await;
    test.app.control_db.close().await;
    for path in ["/me".to_owned(), format!("/spaces/{SPACE}/orchestration/runs")] {
        let response = test.get(&path).await;
        assert_eq!((response.status.as_u16(), response.header("retry-after")), (503, "2"));
        assert_eq!(response.body, json!({"detail": "The database does not answer; try again in a moment"}));
    }
    let ready = test.raw(Request::builder().uri("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.body["detail"], "PostgreSQL does not answer; try again in a moment");
    assert_eq!(test.raw(Request::builder().uri("/health").body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_failed_statement_is_not_exposed() {
    let test = TestApi::new().await;
    test.sql("alter table teams rename to hidden").await;
    let response = test.get(&format!("/spaces/{SPACE}/teams")).await;
    assert_eq!(response.status, 500);
    let detail = response.body["detail"].as_str().unwrap();
    assert!(!detail.contains("teams") && !detail.contains("select"), "{detail}");
}

#[tokio::test]
async fn a_stopping_service_is_not_ready_but_still_responds() {
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
    test.sql(
        "insert into teams (id, space_id, name) select gen_random_uuid(), id,
                'Data' from spaces where slug = 'finance'",
    )
    .await;
    let response = test.get(&format!("/spaces/{SPACE}/teams?size=1&page=2")).await;
    assert_eq!((response.header("x-total-count"), response.header("x-total-pages")), ("2", "2"));
    let [team] = &response.body.as_array().unwrap()[..] else { panic!("{}", response.body) };
    assert_eq!((&team["id"], &team["name"]), (&json!(test.team), &json!("Finance data")));
}
