//! Every status that the OpenAPI document declares for an operation is returned by it in some case. That no
//! other status is returned is checked for every response of every test.

mod notifications;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, request};
use contract::ids::PipelineId;
use serde_json::{Value, json};
use testkit::{FakeAirflow, TriggerBehavior, kafka_config};

use crate::access::{self, RequiredRole, RouteRow, fill_path, path_ids};
use crate::app::{ApiSetup, SPACE, TestApi};
use crate::response::TestResponse;
use crate::seed::{ADMIN, READER, VIEWER};

/// All statuses in use except 405, which belongs to no operation.
const USED_STATUSES: [u16; 18] =
    [200, 201, 202, 204, 303, 304, 400, 401, 403, 404, 409, 413, 415, 422, 429, 502, 503, 504];
/// The cookie of a session of the admin's key.
const SESSION: &str = "orchestration_session=current";
/// A placeholder for every status that the provider returns.
const DEFAULT: &str = "default";

/// The statuses of every operation, by method and path.
type OperationStatuses = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

/// All routes except the event stream, whose response has no end.
fn finite_routes() -> Vec<RouteRow> {
    access::routes().into_iter().filter(|row| !row.1.ends_with("/events")).collect()
}

fn declared() -> OperationStatuses {
    let operation = |row: &RouteRow| &api::server::document()["paths"][row.1][row.0.to_lowercase()];
    let statuses =
        |row: &RouteRow| operation(row)["responses"].as_object().unwrap().keys().cloned().collect();
    finite_routes().iter().map(|row| ((row.0, row.1), statuses(row))).collect()
}

/// A test that collects the statuses of all responses.
struct StatusCollector {
    test: TestApi,
    ids: BTreeMap<&'static str, String>,
    found: OperationStatuses,
}

impl StatusCollector {
    async fn with(setup: ApiSetup) -> Self {
        let test = TestApi::with(setup).await;
        let ids = path_ids(&test, false).await;
        test.begin_session(ADMIN, "current").await;
        Self { test, ids, found: OperationStatuses::new() }
    }

    /// A request of the admin, with a key or, where a session is needed, with its cookie.
    fn request(&self, row: &RouteRow, query: &str) -> request::Builder {
        let uri = format!("{}{query}", fill_path(row.1, &self.ids));
        let request = Request::builder().method(row.0).uri(uri);
        match row.2 {
            RequiredRole::Session => {
                request.header("cookie", SESSION).header("sec-fetch-site", "same-origin")
            }
            _ => request.header("authorization", format!("Bearer {ADMIN}")),
        }
    }

    async fn send(&mut self, row: &RouteRow, request: Request<Body>) -> TestResponse {
        if row.2 == RequiredRole::Session {
            self.test.begin_session(ADMIN, "current").await;
        }
        let response = self.test.raw(request).await;
        self.found.entry((row.0, row.1)).or_default().insert(response.status.as_u16().to_string());
        response
    }

    /// Sends a valid request with this body.
    async fn send_valid(&mut self, row: &RouteRow, body: &Value) -> TestResponse {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = self.request(row, "").body(body).unwrap();
        self.send(row, request).await
    }

    /// Sends every kind of invalid request that applies to all routes.
    async fn send_invalid(&mut self, row: &RouteRow) {
        let uri = fill_path(row.1, &self.ids);
        let without_key = || Request::builder().method(row.0).uri(&uri);
        let with_key = |key: &str| without_key().header("authorization", format!("Bearer {key}"));
        let elsewhere = uri.replace(SPACE, "nowhere").replace("swagger-ui.css", "nothing.css");
        let malformed: BTreeMap<_, _> = self
            .ids
            .keys()
            .map(|name| (*name, if name.ends_with("_id}") { "x".into() } else { self.ids[name].clone() }))
            .collect();
        let malformed = format!("{}?size=0&days=0&include_deleted=2", fill_path(row.1, &malformed));
        for request in [
            without_key().body(Body::empty()),
            with_key(VIEWER).body(Body::from(row.4.to_string())),
            with_key(READER).body(Body::from(row.4.to_string())),
            without_key().header("cookie", SESSION).body(Body::from(row.4.to_string())),
            without_key().header("origin", "https://foreign.example").body(Body::from(row.4.to_string())),
            with_key(ADMIN).uri(elsewhere).body(Body::from(row.4.to_string())),
            with_key(ADMIN).uri(malformed).body(Body::from(row.4.to_string())),
            with_key(ADMIN).body(Body::from("{")),
            with_key(ADMIN).body(Body::from("[]")),
            with_key(ADMIN).body(Body::from("x".repeat(100_001))),
            with_key(ADMIN).body(Body::from(r#"{"key": "qk_wrong"}"#)),
            with_key(ADMIN).header("sec-fetch-site", "cross-site").body(Body::empty()),
            self.request(row, "").header("if-none-match", "*").body(Body::empty()),
        ] {
            self.send(row, request.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn every_declared_status_is_returned() {
    let mut found = OperationStatuses::new();
    let mut add = |more: OperationStatuses| {
        more.into_iter().for_each(|(row, statuses)| found.entry(row).or_default().extend(statuses))
    };
    add(statuses_of_usual_requests().await);
    add(statuses_of_special_cases().await);
    add(notifications::statuses().await);
    add(statuses_of_redirects().await);
    add(statuses_above_the_rate_limit().await);
    let rename_table = async |test: &TestApi| test.sql("alter table api_keys rename to hidden").await;
    add(statuses_with_broken_database(rename_table, "500").await);
    add(statuses_with_broken_database(async |test| test.app.db.close().await, "503").await);
    let mut all: BTreeSet<u16> = BTreeSet::new();
    for (row, declared) in declared() {
        let found = &found[&row];
        let missing: Vec<_> = declared.difference(found).collect();
        assert!(missing.is_empty(), "{row:?} never returns {missing:?}");
        all.extend(found.iter().filter_map(|status| status.parse::<u16>().ok()));
    }
    let missing: Vec<_> = USED_STATUSES.iter().filter(|status| !all.contains(status)).collect();
    assert!(missing.is_empty(), "no operation returns {missing:?}");
}

async fn statuses_of_usual_requests() -> OperationStatuses {
    let kafka = kafka_config(&local::kafka().await.unwrap(), "");
    let mut collector = StatusCollector::with(ApiSetup { kafka, ..ApiSetup::default() }).await;
    for row in finite_routes() {
        // Invalid requests come first, since a valid one may delete the row.
        collector.send_invalid(&row).await;
        collector.send_valid(&row, &row.4).await;
    }
    collector.found
}

/// The statuses that depend on the state of rows and of the provider.
#[expect(clippy::too_many_lines, reason = "one line a case")]
async fn statuses_of_special_cases() -> OperationStatuses {
    let mut collector = StatusCollector::with(ApiSetup::default()).await;
    let rows = finite_routes();
    let row =
        |method: &str, end: &str| rows.iter().find(|row| row.0 == method && row.1.ends_with(end)).unwrap();

    collector.test.app.watched.heartbeats().register("stalled", Duration::ZERO);
    collector.send_valid(row("GET", "/health"), &Value::Null).await.expect(500);
    collector.test.sql("update syncs set status = 'queued'").await;
    collector.send_valid(row("DELETE", "/syncs/{sync_id}"), &Value::Null).await.expect(204);
    collector.test.sql("update incidents set status = 'resolved', resolved_at = now()").await;
    collector.send_valid(row("POST", "/acknowledge"), &Value::Null).await.expect(409);
    collector.send_valid(row("POST", "/mute"), &json!({"until": null})).await.expect(409);
    collector.test.sql("update connectors set is_active = false").await;
    for row in rows.iter().filter(|row| row.1.ends_with("/sync")) {
        collector.send_valid(row, &Value::Null).await.expect(409);
    }
    let created = json!({"name": "made", "connector_type": "other"});
    collector.send_valid(row("POST", "/connectors"), &created).await.expect(201);
    collector.send_valid(row("POST", "/connectors"), &created).await.expect(409);
    let named = json!({"name": "made"});
    collector.send_valid(row("POST", "/teams"), &named).await.expect(201);
    collector.send_valid(row("POST", "/teams"), &named).await.expect(409);
    collector.send_valid(row("PATCH", "/teams/{team_id}"), &named).await.expect(409);
    let mapped = json!({"group": "made", "role": "viewer"});
    collector.send_valid(row("POST", "/group-mappings"), &mapped).await.expect(201);
    collector.send_valid(row("POST", "/group-mappings"), &mapped).await.expect(409);
    let members = "{slug}/members/{user_id}";
    collector.send_valid(row("DELETE", members), &Value::Null).await.expect(204);
    let ada = collector.test.id("select id from users where name = 'Ada'").await.to_string();
    collector.ids.insert("{user_id}", ada);
    collector.send_valid(row("PUT", members), &json!({"role": "viewer"})).await.expect(409);
    collector.send_valid(row("DELETE", members), &Value::Null).await.expect(409);
    let many =
        "insert into api_keys (id, user_id, label, prefix, secret_sha256) select gen_random_uuid(), u.id,
        '', '', sha256(n::text::bytea) from users u, generate_series(1, 100) n where u.name = 'Ada'";
    collector.test.sql(many).await;
    collector.send_valid(row("POST", "/api-keys"), &json!({"label": "one more"})).await.expect(409);
    collector.send_valid(row("PATCH", "/connectors/{connector_id}"), &named).await.expect(409);
    collector.test.sql("update connectors set connector_type = 'dbt'").await;
    collector.send_valid(row("POST", "/test"), &Value::Null).await.expect(400);
    collector.test.sql("update connectors set connector_type = 'airflow', is_active = true").await;

    let trigger = row("POST", "/trigger");
    collector.test.sql("update pipelines set is_active = false").await;
    collector.send_valid(trigger, &Value::Null).await.expect(409);
    collector.test.sql("update pipelines set is_active = true").await;
    collector.send_valid(trigger, &Value::Null).await.expect(502);
    let fake = FakeAirflow::start(0).await;
    collector.test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    collector.send_valid(trigger, &Value::Null).await.expect(201);
    fake.set_behavior(TriggerBehavior::Disconnect);
    collector.send_valid(trigger, &Value::Null).await.expect(504);
    fake.set_behavior(TriggerBehavior::Reject(418));
    collector.send_valid(trigger, &Value::Null).await.expect(418);
    let statuses = collector.found.get_mut(&(trigger.0, trigger.1)).unwrap();
    statuses.insert(DEFAULT.to_owned());

    collector.test.app.control_db.close().await;
    let ready = row("GET", "/readyz");
    collector.send_valid(ready, &Value::Null).await.expect(503);
    collector.found
}

/// Whether a route only sends browsers elsewhere.
fn is_redirect(row: &RouteRow) -> bool {
    row.1.contains("/session/oidc")
}

/// Without an answer of the OpenID Connect provider, browsers are sent to the sign-in page.
async fn statuses_of_redirects() -> OperationStatuses {
    let mut setup = ApiSetup::default();
    setup.sessions.public_url = Some("http://o.example".parse().unwrap());
    setup.oidc.oidc_issuer = Some("http://127.0.0.1:9".to_owned());
    setup.oidc.oidc_client_id = Some("console".to_owned());
    let mut collector = StatusCollector::with(setup).await;
    for row in finite_routes().iter().filter(|row| is_redirect(row)) {
        let response = collector.send_valid(row, &Value::Null).await;
        let has_problem = response.header("location").starts_with("/sign-in?problem=");
        assert_eq!(has_problem, !row.1.ends_with("/sign-out"), "{row:?}");
        response.expect(303);
    }
    collector.found
}

/// Whether a key or a session is looked up for a request.
fn needs_key(row: &RouteRow) -> bool {
    row.1.starts_with(api::http::BASE_PATH) && !row.1.ends_with("/providers") && !is_redirect(row)
}

/// Every response to a counted request has the headers of the rate limit.
async fn statuses_above_the_rate_limit() -> OperationStatuses {
    let with_key: Vec<_> = finite_routes().into_iter().filter(needs_key).collect();
    let limits = (0, u32::try_from(with_key.len()).unwrap());
    let mut collector = StatusCollector::with(ApiSetup { limits, ..ApiSetup::default() }).await;
    // Once within the limit, once above it, and once more in case a new hour has begun meanwhile.
    for _ in 0..3 {
        for row in &with_key {
            let response = collector.send_valid(row, &row.4).await;
            for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
                assert!(response.headers.contains_key(name), "{row:?}: {} without {name}", response.status);
            }
        }
    }
    collector.found
}

async fn statuses_with_broken_database(
    break_database: impl AsyncFnOnce(&TestApi),
    status: &str,
) -> OperationStatuses {
    let mut collector = StatusCollector::with(ApiSetup::default()).await;
    break_database(&collector.test).await;
    for row in finite_routes().iter().filter(|row| needs_key(row)) {
        let response = collector.send_valid(row, &row.4).await;
        assert_eq!(response.status.as_str(), status, "{row:?}");
        assert!(status != "503" || response.header("retry-after") == "2");
    }
    collector.found
}

#[tokio::test]
async fn a_405_lists_the_allowed_methods() {
    let test = TestApi::new().await;
    let ids = path_ids(&test, false).await;
    for (path, methods) in api::server::document()["paths"].as_object().unwrap() {
        let mut allowed_by_document: BTreeSet<_> =
            methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if allowed_by_document.contains("GET") {
            allowed_by_document.insert("HEAD".to_owned());
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if allowed_by_document.contains(method) {
                continue;
            }
            let request =
                Request::builder().method(method).uri(fill_path(path, &ids)).body(Body::empty()).unwrap();
            let response = test.raw(request).await;
            assert_eq!(response.status, 405, "{method} {path}");
            let allow_header =
                response.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
            assert_eq!(allowed_by_document, allow_header, "{method} {path}");
        }
    }
}

/// All forms of `if-none-match` are recognised on every read.
#[tokio::test]
async fn unchanged_reads_return_304() {
    let kafka = kafka_config(&local::kafka().await.unwrap(), "");
    let collector = StatusCollector::with(ApiSetup { kafka, ..ApiSetup::default() }).await;
    // Metrics change with every request.
    for row in finite_routes().iter().filter(|row| row.0 == "GET" && row.1 != "/metrics" && !is_redirect(row))
    {
        let send = async |method: &str, known: &[&str]| {
            let request = collector.request(row, "").method(method);
            let request =
                known.iter().fold(request, |request, known| request.header("if-none-match", *known));
            collector.test.raw(request.body(Body::empty()).unwrap()).await
        };
        let first = send("GET", &[]).await;
        assert_eq!(first.status, 200, "{row:?}");
        let tag = first.header("etag").to_owned();
        let strong = tag.trim_start_matches("W/");
        let among = format!("\"x\", {tag},\"y\"");
        for known in [&[tag.as_str()][..], &[strong], &[&among], &["*"], &["\"x\"", &tag]] {
            for method in ["GET", "HEAD"] {
                let again = send(method, known).await;
                assert_eq!(
                    (again.status.as_u16(), again.header("etag")),
                    (304, tag.as_str()),
                    "{method} {row:?} {known:?}"
                );
                assert_eq!(again.body, Value::Null);
            }
        }
        for other in ["\"x\"", "W/\"\"", "", strong.trim_matches('"')] {
            assert_eq!(send("GET", &[other]).await.status, 200, "{row:?} {other:?}");
        }
        let head = send("HEAD", &[]).await;
        assert_eq!((head.status.as_u16(), head.header("etag")), (200, tag.as_str()), "{row:?}");
        assert_eq!(head.header("content-length"), first.header("content-length"), "{row:?}");
    }
}

#[tokio::test]
async fn a_sync_is_stored_and_reads_are_served_without_kafka() {
    let test = TestApi::new().await;
    let path = format!("/connectors/{}/sync", test.connector);
    test.request(axum::http::Method::POST, ADMIN, &path, Value::Null).await.expect(202);
    assert_eq!(test.number("select count(*) from outbox where topic::text like '%sync-requests%'").await, 1);
    let ready = test.raw(Request::builder().uri("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.expect(200)["parts"]["kafka"], "away");
}

#[tokio::test]
async fn every_list_is_bounded_and_keeps_the_query_in_its_links() {
    let collector = StatusCollector::with(ApiSetup::default()).await;
    let document = api::server::document();
    let is_list = |row: &&RouteRow| {
        let parameters = document["paths"][row.1][row.0.to_lowercase()]["parameters"].as_array();
        parameters.is_some_and(|known| known.iter().any(|parameter| parameter["name"] == "page"))
    };
    let rows = finite_routes();
    let lists: Vec<_> = rows.iter().filter(is_list).collect();
    assert_eq!(lists.len(), 22);
    for row in lists {
        let send = async |query: &str| {
            collector.test.raw(collector.request(row, query).body(Body::empty()).unwrap()).await
        };
        let page = send("?other=a%20b&page=2&size=501&q=%25").await;
        assert_eq!((page.status.as_u16(), page.header("x-page-size")), (200, "500"), "{row:?}");
        let path = fill_path(row.1, &collector.ids);
        let first = format!("<{path}?other=a%20b&size=501&q=%25&page=1>; rel=\"first\", ");
        assert!(page.header("link").starts_with(&first), "{}", page.header("link"));
        assert_eq!(send("").await.header("x-page-size"), "100");
        for (query, fault) in
            [("?size=0", "query.size"), ("?page=0", "query.page"), ("?page=1&page=2", "query.page")]
        {
            assert_eq!(send(query).await.field_errors()[0].0, fault, "{row:?}");
        }
    }
}

/// A nested id is looked up within its parent, even if both are in the same space.
#[tokio::test]
async fn a_nested_id_of_another_parent_is_not_found() {
    let test = TestApi::new().await;
    let own_ids = path_ids(&test, false).await;
    let other = test
        .id(&format!(
            "insert into connectors (id, space_id, name, connector_type, config,
                                    credentials_public) select gen_random_uuid(), space_id, 'other',
                                    'airflow', config, credentials_public from connectors where id = '{}'
                                    returning id",
            test.connector
        ))
        .await;
    let path = format!("/connectors/{other}/syncs/{}", own_ids["{sync_id}"]);
    test.get(&format!("/spaces/{SPACE}/orchestration{path}")).await.expect(404);
    // A pipeline that was never observed is not found either.
    let unseen = PipelineId::of(test.connector, "unseen");
    test.get(&format!("/spaces/{SPACE}/orchestration/pipelines/{unseen}/runs")).await.expect(404);
}
