//! Browser sessions: sign-in, the cookie, what may be written with it, and everything that ends a session.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};

use crate::app::{ApiSetup, SPACE, TestApi};
use crate::response::TestResponse;
use crate::seed::{ADMIN, EDITOR, READER, VIEWER};

impl TestApi {
    /// Exchanges a key for a session: the cookie, and the body of the 201.
    pub(crate) async fn sign_in(&self, key: &str) -> (String, Value) {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/v1.0/session")
            .header("user-agent", "a browser")
            .body(Body::from(json!({"key": key}).to_string()));
        let response = self.raw(request.unwrap()).await;
        let cookie = response.header("set-cookie").split(';').next().unwrap().to_owned();
        (cookie, response.expect(201))
    }

    /// Sends a request with these headers, to a path below the API's base path.
    async fn browse(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> TestResponse {
        let request = Request::builder().method(method).uri(format!("/api/v1.0{path}"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.raw(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn status_with(&self, cookie: &str) -> u16 {
        self.browse(Method::GET, "/me", &[("cookie", cookie)]).await.status.as_u16()
    }
}

const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

#[tokio::test]
async fn a_key_is_exchanged_for_a_cookie_that_is_good_for_reads() {
    let test = TestApi::new().await;
    let (cookie, signed_in) = test.sign_in(EDITOR).await;
    assert_eq!((&signed_in["user"]["name"], &signed_in["read_only"]), (&json!("Edith"), &json!(false)));
    let session = test.browse(Method::GET, "/session", &[("cookie", &cookie)]).await;
    assert_eq!(session.expect(200), signed_in);
    let runs = format!("/spaces/{SPACE}/orchestration/runs");
    test.browse(Method::GET, &runs, &[("cookie", &format!("a=b; {cookie}"))]).await.expect(200);
    test.browse(Method::GET, "/spaces/other/orchestration/runs", &[("cookie", &cookie)]).await.expect(404);
    // A header wins, also with a wrong key.
    let both = [("cookie", cookie.as_str()), ("authorization", "Bearer qk_wrong")];
    test.browse(Method::GET, "/me", &both).await.expect(401);
    let stored = "select count(*) from sessions where encode(secret_sha256, 'escape') like '%' || $1";
    let secret = cookie.split_once('=').unwrap().1;
    let found: i64 = sqlx::query_scalar(stored).bind(secret).fetch_one(&test.db).await.unwrap();
    assert_eq!(found, 0, "the secret is not stored");
}

#[tokio::test]
async fn over_tls_the_cookie_is_bound_to_the_host() {
    let mut setup = ApiSetup::default();
    setup.sessions.public_url = Some("https://o.example".parse().unwrap());
    let test = TestApi::with(setup).await;
    let (cookie, _) = test.sign_in(EDITOR).await;
    assert!(cookie.starts_with("__Host-orchestration_session="), "{cookie}");
    assert_eq!(test.status_with(&cookie).await, 200);
    assert_eq!(test.status_with(cookie.trim_start_matches("__Host-")).await, 401);
}

#[tokio::test]
async fn a_session_writes_only_from_pages_of_the_service() {
    let mut setup = ApiSetup::default();
    setup.sessions.public_url = Some("http://o.example".parse().unwrap());
    let test = TestApi::with(setup).await;
    let (cookie, _) = test.sign_in(VIEWER).await;
    let watch = format!("/spaces/{SPACE}/orchestration/pipelines/{}/watch", test.pipeline("p").await);
    let write = async |headers: &[(&str, &str)]| {
        let headers = [headers, &[("cookie", cookie.as_str())]].concat();
        test.browse(Method::PUT, &watch, &headers).await
    };
    for foreign in [
        &[][..],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://e.example")],
        &[("origin", "null")],
    ] {
        let detail = write(foreign).await.expect(403)["detail"].clone();
        assert!(detail.as_str().unwrap().contains("Sec-Fetch-Site"), "{foreign:?}: {detail}");
    }
    assert_eq!(test.number("select count(*) from pipeline_watches").await, 0);
    write(&[SAME_ORIGIN]).await.expect(204);
    write(&[("origin", "http://o.example")]).await.expect(204);
    // The role counts as ever.
    let sync = format!("/spaces/{SPACE}/orchestration/connectors/{}/sync", test.connector);
    test.browse(Method::POST, &sync, &[("cookie", &cookie), SAME_ORIGIN]).await.expect(403);
}

#[tokio::test]
async fn only_a_valid_key_from_a_page_of_the_service_signs_in() {
    let test = TestApi::new().await;
    let sign_in = async |body: Value, headers: &[(&str, &str)]| {
        let request = Request::builder().method(Method::POST).uri("/api/v1.0/session");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        test.raw(request.body(Body::from(body.to_string())).unwrap()).await
    };
    let key = json!({"key": EDITOR});
    sign_in(key.clone(), &[("sec-fetch-site", "cross-site")]).await.expect(403);
    sign_in(key.clone(), &[("host", "o.example"), ("origin", "https://e.example")]).await.expect(403);
    sign_in(key.clone(), &[("host", "o.example"), ("origin", "http://o.example")]).await.expect(201);
    sign_in(key, &[SAME_ORIGIN]).await.expect(201);
    sign_in(json!({"key": "qk_revoked"}), &[]).await.expect(401);
    sign_in(json!({"key": "secret"}), &[]).await.expect(401);
    assert_eq!(sign_in(json!({}), &[]).await.invalid_fields(), ["body.key"]);
    assert_eq!(test.number("select count(*) from sessions").await, 2);
    assert_eq!(test.number("select count(*) from audit where action = 'session.created'").await, 2);
}

#[tokio::test]
async fn the_session_of_a_read_only_key_reads_and_signs_out() {
    let test = TestApi::new().await;
    let (cookie, signed_in) = test.sign_in(READER).await;
    assert_eq!(signed_in["read_only"], true);
    assert_eq!(test.status_with(&cookie).await, 200);
    let watch = format!("/spaces/{SPACE}/orchestration/pipelines/{}/watch", test.pipeline("p").await);
    let headers = [("cookie", cookie.as_str()), SAME_ORIGIN];
    let refused = test.browse(Method::PUT, &watch, &headers).await.expect(403);
    assert_eq!(refused["detail"], "This key only reads; use one that may write");
    test.request(Method::PUT, READER, watch.split("/orchestration").last().unwrap(), Value::Null)
        .await
        .expect(403);
    let ended = test.browse(Method::DELETE, "/session", &headers).await;
    assert!(ended.header("set-cookie").starts_with("orchestration_session=; Path=/; Max-Age=0; HttpOnly"));
    ended.expect(204);
    assert_eq!(test.status_with(&cookie).await, 401);
    test.browse(Method::DELETE, "/session", &headers).await.expect(401);
}

#[tokio::test]
async fn a_session_ends_with_its_key_its_user_and_its_time() {
    let test = TestApi::new().await;
    for (ending, restoring) in [
        (
            "update api_keys set revoked_at = now() where prefix = 'qk_edith'",
            "update api_keys set revoked_at = null",
        ),
        ("update api_keys set expires_at = now()", "update api_keys set expires_at = null"),
        ("update users set disabled_at = now() where name = 'Edith'", "update users set disabled_at = null"),
        (
            "update sessions set last_used_at = now() - interval '721 minutes'",
            "update sessions set last_used_at = now()",
        ),
        (
            "update sessions set expires_at = now()",
            "update sessions set expires_at = now() + interval '1 hour'",
        ),
    ] {
        let (cookie, _) = test.sign_in(EDITOR).await;
        assert_eq!(test.status_with(&cookie).await, 200, "before {ending}");
        test.sql(ending).await;
        assert_eq!(test.status_with(&cookie).await, 401, "after {ending}");
        test.sql(restoring).await;
        // An invalid session is not looked up again for some seconds.
        let is_restored = async || test.status_with(&cookie).await == 200;
        testkit::eventually(restoring, Duration::from_secs(60), is_restored).await;
    }
}

#[tokio::test]
async fn requests_keep_a_session_and_are_recorded_once_a_minute() {
    let test = TestApi::new().await;
    let (cookie, _) = test.sign_in(EDITOR).await;
    let age = "select extract(epoch from now() - last_used_at)::bigint from sessions";
    for (seconds, is_recorded) in [(50, false), (600 * 60, true)] {
        test.sql(&format!("update sessions set last_used_at = now() - interval '{seconds} s'")).await;
        assert_eq!(test.status_with(&cookie).await, 200);
        assert_eq!(test.number(age).await < 50, is_recorded, "{seconds} s");
    }
    assert_eq!(
        test.number("select count(*) from api_key_uses").await,
        0,
        "a session is not a use of its key"
    );
    test.send(Method::GET, EDITOR, "/me", None).await.expect(200);
    assert_eq!(test.number("select count(*) from api_key_uses").await, 1);
}

#[tokio::test]
async fn users_list_and_end_their_own_sessions() {
    let test = TestApi::new().await;
    let (first, _) = test.sign_in(EDITOR).await;
    let (second, _) = test.sign_in(EDITOR).await;
    test.sign_in(ADMIN).await;
    let listed = test.browse(Method::GET, "/sessions", &[("cookie", &second)]).await;
    assert_eq!(listed.header("x-total-count"), "2");
    let listed = listed.expect(200);
    assert_eq!((&listed[0]["is_current"], &listed[1]["is_current"]), (&json!(true), &json!(false)));
    assert_eq!(listed[0]["user_agent"], "a browser");
    let of_first = format!("/sessions/{}", listed[1]["id"].as_str().unwrap());
    test.send(Method::DELETE, ADMIN, &of_first, None).await.expect(404);
    assert_eq!(test.status_with(&first).await, 200);
    test.browse(Method::DELETE, &of_first, &[("cookie", &second), SAME_ORIGIN]).await.expect(204);
    assert_eq!((test.status_with(&first).await, test.status_with(&second).await), (401, 200));
    test.send(Method::DELETE, EDITOR, &of_first, None).await.expect(404);
    assert_eq!(test.number("select count(*) from audit where action = 'session.ended'").await, 1);
}

#[tokio::test]
async fn the_number_of_sessions_of_a_user_is_bounded() {
    let test = TestApi::new().await;
    for n in 0..100 {
        test.begin_session(EDITOR, &format!("s{n}")).await;
    }
    test.sql(
        "update sessions set last_used_at = now() - interval '1 hour' where secret_sha256 = sha256('s7')",
    )
    .await;
    test.sign_in(EDITOR).await;
    assert_eq!(test.number("select count(*) from sessions").await, 100);
    assert_eq!(test.number("select count(*) from sessions where secret_sha256 = sha256('s7')").await, 0);
}

/// Keys and sessions are cached together, and a key in the cookie is not a session.
#[tokio::test]
async fn a_cached_session_ends_and_a_cached_key_is_no_session() {
    let test = TestApi::new().await;
    test.cache_access();
    let (cookie, _) = test.sign_in(EDITOR).await;
    let is_cached = async || {
        assert_eq!(test.status_with(&cookie).await, 200);
        let mut hidden = test.db.begin().await.unwrap();
        sqlx::query("alter table sessions rename to hidden").execute(&mut *hidden).await.unwrap();
        let answered = tokio::time::timeout(Duration::from_millis(300), test.status_with(&cookie)).await;
        hidden.rollback().await.unwrap();
        answered.is_ok()
    };
    testkit::eventually("a session is cached", Duration::from_secs(60), is_cached).await;
    test.send(Method::GET, EDITOR, "/me", None).await.expect(200);
    assert_eq!(test.status_with(&format!("orchestration_session={EDITOR}")).await, 401);
    test.browse(Method::DELETE, "/session", &[("cookie", &cookie), SAME_ORIGIN]).await.expect(204);
    let has_ended = async || test.status_with(&cookie).await == 401;
    testkit::eventually("the session ends", Duration::from_secs(60), has_ended).await;
}
