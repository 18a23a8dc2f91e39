//! Every code that the document declares for an operation is answered by it, in one way or another. That no other is
//! answered is held against every answer of every test.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::{Request, request};
use contract::ids::PipelineId;
use serde_json::{Value, json};
use testkit::{FakeAirflow, TriggerBehavior, kafka_config};

use crate::access::{self, Row, fill, ids};
use crate::app::{ApiSetup, SPACE, TestApi};
use crate::client::TestResponse;
use crate::seed::{ADMIN, VIEWER};

/// The codes that the contract names, 405 aside, which belongs to no operation.
const NAMED: [u16; 16] = [200, 201, 202, 204, 304, 400, 401, 403, 404, 409, 413, 422, 429, 502, 503, 504];
/// What stands for any code of the provider's.
const DEFAULT: &str = "default";

/// The codes of every operation, by method and path.
type Codes = BTreeMap<(&'static str, &'static str), BTreeSet<String>>;

/// All routes but the one whose answer never ends: that has tests of its own.
fn table() -> Vec<Row> {
    access::table().into_iter().filter(|row| !row.1.ends_with("/events")).collect()
}

fn declared() -> Codes {
    let operation = |row: &Row| &api::openapi::document()["paths"][row.1][row.0.to_lowercase()];
    let codes = |row: &Row| operation(row)["responses"].as_object().unwrap().keys().cloned().collect();
    table().iter().map(|row| ((row.0, row.1), codes(row))).collect()
}

/// A test where an operation's codes are gathered.
struct Gathering {
    test: TestApi,
    ids: BTreeMap<&'static str, String>,
    found: Codes,
}

impl Gathering {
    async fn with(setup: ApiSetup) -> Self {
        let test = TestApi::with(setup).await;
        let ids = ids(&test, false).await;
        Self { test, ids, found: Codes::new() }
    }

    fn request(&self, row: &Row, query: &str) -> request::Builder {
        let key = format!("Bearer {ADMIN}");
        let uri = format!("{}{query}", fill(row.1, &self.ids));
        Request::builder().method(row.0).uri(uri).header("authorization", key)
    }

    async fn send(&mut self, row: &Row, request: Request<Body>) -> TestResponse {
        let answer = self.test.raw(request).await;
        self.found.entry((row.0, row.1)).or_default().insert(answer.status.as_u16().to_string());
        answer
    }

    /// Asks as the route is meant to be asked, with this body.
    async fn ask(&mut self, row: &Row, body: &Value) -> TestResponse {
        let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
        let request = self.request(row, "").body(body).unwrap();
        self.send(row, request).await
    }

    /// Everything that can be wrong with a request whatever it asks for.
    async fn ask_wrongly(&mut self, row: &Row) {
        let uri = fill(row.1, &self.ids);
        let bare = || Request::builder().method(row.0).uri(&uri);
        let keyed = |key: &str| bare().header("authorization", format!("Bearer {key}"));
        let elsewhere = uri.replace(SPACE, "nowhere").replace("swagger-ui.css", "nothing.css");
        let malformed: BTreeMap<_, _> = self
            .ids
            .keys()
            .map(|name| (*name, if name.ends_with("_id}") { "x".into() } else { self.ids[name].clone() }))
            .collect();
        let malformed = format!("{}?size=0&days=0&include_deleted=2", fill(row.1, &malformed));
        for request in [
            bare().body(Body::empty()),
            keyed(VIEWER).body(Body::from(row.4.to_string())),
            keyed(ADMIN).uri(elsewhere).body(Body::from(row.4.to_string())),
            keyed(ADMIN).uri(malformed).body(Body::from(row.4.to_string())),
            keyed(ADMIN).body(Body::from("{")),
            keyed(ADMIN).body(Body::from("[]")),
            keyed(ADMIN).body(Body::from("x".repeat(100_001))),
            keyed(ADMIN).header("if-none-match", "*").body(Body::empty()),
        ] {
            self.send(row, request.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn every_code_that_is_declared_is_answered() {
    let mut found = Codes::new();
    let mut add =
        |more: Codes| more.into_iter().for_each(|(row, codes)| found.entry(row).or_default().extend(codes));
    add(in_a_good_world().await);
    add(in_special_cases().await);
    add(over_the_limit().await);
    add(with_a_broken_database(async |test| test.sql("alter table api_keys rename to hidden").await, "500")
        .await);
    add(with_a_broken_database(async |test| test.app.db.close().await, "503").await);
    let mut all: BTreeSet<u16> = BTreeSet::new();
    for (row, declared) in declared() {
        let found = &found[&row];
        let missing: Vec<_> = declared.difference(found).collect();
        assert!(missing.is_empty(), "{row:?} never answers {missing:?}");
        all.extend(found.iter().filter_map(|code| code.parse::<u16>().ok()));
    }
    let missing: Vec<_> = NAMED.iter().filter(|code| !all.contains(code)).collect();
    assert!(missing.is_empty(), "no operation answers {missing:?}");
}

async fn in_a_good_world() -> Codes {
    let kafka = kafka_config(&local::kafka().await.unwrap(), "");
    let mut gathering = Gathering::with(ApiSetup { kafka, ..ApiSetup::default() }).await;
    for row in table() {
        // The deletions come last, and would leave nothing to be wrong about.
        gathering.ask_wrongly(&row).await;
        gathering.ask(&row, &row.4).await;
    }
    gathering.found
}

/// The codes that depend on what is asked of what.
async fn in_special_cases() -> Codes {
    let mut gathering = Gathering::with(ApiSetup::default()).await;
    let rows = table();
    let row =
        |method: &str, end: &str| rows.iter().find(|row| row.0 == method && row.1.ends_with(end)).unwrap();

    gathering.test.sql("update connectors set is_active = false").await;
    gathering.ask(row("POST", "/sync"), &Value::Null).await.expect(409);
    let made = json!({"name": "made", "connector_type": "other"});
    gathering.ask(row("POST", "/connectors"), &made).await.expect(201);
    gathering.ask(row("POST", "/connectors"), &made).await.expect(409);
    gathering.ask(row("PATCH", "/connectors/{connector_id}"), &json!({"name": "made"})).await.expect(409);
    gathering.test.sql("update connectors set connector_type = 'dbt'").await;
    gathering.ask(row("POST", "/test"), &Value::Null).await.expect(400);
    gathering.test.sql("update connectors set connector_type = 'airflow', is_active = true").await;

    let trigger = row("POST", "/trigger");
    gathering.test.sql("update pipelines set is_active = false").await;
    gathering.ask(trigger, &Value::Null).await.expect(409);
    gathering.test.sql("update pipelines set is_active = true").await;
    gathering.ask(trigger, &Value::Null).await.expect(502);
    let fake = FakeAirflow::start(0).await;
    gathering.test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    gathering.ask(trigger, &Value::Null).await.expect(201);
    fake.set_behavior(TriggerBehavior::Disconnect);
    gathering.ask(trigger, &Value::Null).await.expect(504);
    fake.set_behavior(TriggerBehavior::Reject(418));
    gathering.ask(trigger, &Value::Null).await.expect(418);
    let codes = gathering.found.get_mut(&(trigger.0, trigger.1)).unwrap();
    codes.insert(DEFAULT.to_owned());

    let ready = row("GET", "/readyz");
    gathering.ask(ready, &Value::Null).await.expect(503);
    gathering.found
}

/// Every answer to a counted request says how the key stands.
async fn over_the_limit() -> Codes {
    let keyed: Vec<_> = table().into_iter().filter(|row| row.1.starts_with(api::routes::BASE)).collect();
    let limits = (0, u32::try_from(keyed.len()).unwrap());
    let mut gathering = Gathering::with(ApiSetup { limits, ..ApiSetup::default() }).await;
    // Once within the limit, once over it, and once more should a new hour have begun meanwhile.
    for _ in 0..3 {
        for row in &keyed {
            let answer = gathering.ask(row, &row.4).await;
            for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
                assert!(answer.headers.contains_key(name), "{row:?}: {} without {name}", answer.status);
            }
        }
    }
    gathering.found
}

async fn with_a_broken_database(break_it: impl AsyncFnOnce(&TestApi), code: &str) -> Codes {
    let mut gathering = Gathering::with(ApiSetup::default()).await;
    break_it(&gathering.test).await;
    for row in table().iter().filter(|row| row.1.starts_with(api::routes::BASE)) {
        let answer = gathering.ask(row, &row.4).await;
        assert_eq!(answer.status.as_str(), code, "{row:?}");
        assert!(code != "503" || answer.header("retry-after") == "2");
    }
    gathering.found
}

#[tokio::test]
async fn every_path_tells_which_methods_it_has() {
    let test = TestApi::new().await;
    let ids = ids(&test, false).await;
    for (path, methods) in api::openapi::document()["paths"].as_object().unwrap() {
        let mut has: BTreeSet<_> =
            methods.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if has.contains("GET") {
            has.insert("HEAD".to_owned());
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            if has.contains(method) {
                continue;
            }
            let request =
                Request::builder().method(method).uri(fill(path, &ids)).body(Body::empty()).unwrap();
            let answer = test.raw(request).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allowed = answer.header("allow").split(',').map(|method| method.trim().to_owned()).collect();
            assert_eq!(has, allowed, "{method} {path}");
        }
    }
}

/// Whichever way a tag is sent back, it is recognised, on every read.
#[tokio::test]
async fn every_read_is_not_sent_again_when_nothing_has_changed() {
    let kafka = kafka_config(&local::kafka().await.unwrap(), "");
    let gathering = Gathering::with(ApiSetup { kafka, ..ApiSetup::default() }).await;
    // The metrics are never the same twice.
    for row in table().iter().filter(|row| row.0 == "GET" && row.1 != "/metrics") {
        let ask = async |method: &str, known: &[&str]| {
            let request = gathering.request(row, "").method(method);
            let request =
                known.iter().fold(request, |request, known| request.header("if-none-match", *known));
            gathering.test.raw(request.body(Body::empty()).unwrap()).await
        };
        let first = ask("GET", &[]).await;
        assert_eq!(first.status, 200, "{row:?}");
        let tag = first.header("etag").to_owned();
        let strong = tag.trim_start_matches("W/");
        let among = format!("\"x\", {tag},\"y\"");
        for known in [&[tag.as_str()][..], &[strong], &[&among], &["*"], &["\"x\"", &tag]] {
            for method in ["GET", "HEAD"] {
                let again = ask(method, known).await;
                assert_eq!(
                    (again.status.as_u16(), again.header("etag")),
                    (304, tag.as_str()),
                    "{method} {row:?} {known:?}"
                );
                assert_eq!(again.body, Value::Null);
            }
        }
        for other in ["\"x\"", "W/\"\"", "", strong.trim_matches('"')] {
            assert_eq!(ask("GET", &[other]).await.status, 200, "{row:?} {other:?}");
        }
        let head = ask("HEAD", &[]).await;
        assert_eq!((head.status.as_u16(), head.header("etag")), (200, tag.as_str()), "{row:?}");
        assert_eq!(head.header("content-length"), first.header("content-length"), "{row:?}");
    }
}

#[tokio::test]
async fn a_sync_is_written_down_while_kafka_is_away_and_readiness_names_it() {
    let test = TestApi::new().await;
    let path = format!("/connectors/{}/sync", test.connector);
    test.request(axum::http::Method::POST, ADMIN, &path, Value::Null).await.expect(202);
    assert_eq!(test.number("select count(*) from outbox where topic::text like '%sync-requests%'").await, 1);
    let ready = test.raw(Request::builder().uri("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(ready.header("retry-after"), "2");
    assert!(ready.expect(503)["detail"].as_str().unwrap().starts_with("Kafka "));
}

#[tokio::test]
async fn every_list_has_its_bounds_and_keeps_the_query_in_its_links() {
    let gathering = Gathering::with(ApiSetup::default()).await;
    let document = api::openapi::document();
    let is_list = |row: &&Row| {
        let parameters = document["paths"][row.1][row.0.to_lowercase()]["parameters"].as_array();
        parameters.is_some_and(|known| known.iter().any(|parameter| parameter["name"] == "page"))
    };
    let rows = table();
    let lists: Vec<_> = rows.iter().filter(is_list).collect();
    assert_eq!(lists.len(), 9);
    for row in lists {
        let ask = async |query: &str| {
            gathering.test.raw(gathering.request(row, query).body(Body::empty()).unwrap()).await
        };
        let page = ask("?other=a%20b&page=2&size=501&q=%25").await;
        assert_eq!((page.status.as_u16(), page.header("x-page-size")), (200, "500"), "{row:?}");
        let path = fill(row.1, &gathering.ids);
        let first = format!("<{path}?other=a%20b&size=501&q=%25&page=1>; rel=\"first\", ");
        assert!(page.header("link").starts_with(&first), "{}", page.header("link"));
        assert_eq!(ask("").await.header("x-page-size"), "100");
        for (query, fault) in
            [("?size=0", "query.size"), ("?page=0", "query.page"), ("?page=1&page=2", "query.page")]
        {
            assert_eq!(ask(query).await.field_errors()[0].0, fault, "{row:?}");
        }
    }
}

/// An id of one thing is no id of another, though both are of this space.
#[tokio::test]
async fn an_id_is_looked_up_below_the_one_before_it() {
    let test = TestApi::new().await;
    let own = ids(&test, false).await;
    let other = test.id(&format!("insert into connectors (id, space_id, name, connector_type, config, credentials_public) select gen_random_uuid(), space_id, 'other', 'airflow', config, credentials_public from connectors where id = '{}' returning id", test.connector)).await;
    let path = format!("/connectors/{other}/syncs/{}", own["{sync_id}"]);
    test.get(&format!("/spaces/{SPACE}/orchestration{path}")).await.expect(404);
    // Nor does one of a pipeline that nobody has ever seen lead anywhere.
    let unseen = PipelineId::of(test.connector, "unseen");
    test.get(&format!("/spaces/{SPACE}/orchestration/pipelines/{unseen}/runs")).await.expect(404);
}
