//! Connectors are created, changed, deleted and tested, and their secrets are never returned.

use std::collections::BTreeMap;

use axum::http::Method;
use contract::ids::ConnectorId;
use provider::connector::{Credentials, SecretKeys, Secrets, credentials_aad};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::{FakeAirflow, keyring};
use uuid::Uuid;

use crate::app::{ApiSetup, TestApi};
use crate::assertions::field_of_each;
use crate::response::TestResponse;
use crate::seed::{ADMIN, EDITOR, hours_ago};

const PATH: &str = "/catalog/spaces/finance/connectors";
pub(crate) const CANARY: &str = "hunter2-canary";

pub(crate) async fn send(test: &TestApi, method: Method, path: &str, body: Value) -> TestResponse {
    let body = (!body.is_null()).then_some(body);
    test.send(method, EDITOR, &format!("{PATH}{path}"), body).await
}

pub(crate) fn new_airflow() -> Value {
    json!({
        "name": "made", "connector_type": "airflow",
        "config": {"base_url": "https://airflow.example/base", "schedule": "*/30 * * * * *"},
        "credentials": {"auth_type": "basic", "username": "svc", "password": CANARY},
    })
}

pub(crate) async fn create(test: &TestApi) -> String {
    let created = send(test, Method::POST, "", new_airflow()).await.expect(201);
    created["id"].as_str().unwrap().to_owned()
}

async fn state(test: &TestApi, id: &str, what: &str) -> Option<bool> {
    let query = format!("select {what} from connector_state where connector_id = '{id}'");
    sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_one(&test.db).await.unwrap()
}

#[tokio::test]
async fn a_connector_is_created_with_defaults_and_is_due_at_once() {
    let test = TestApi::new().await;
    let response = send(&test, Method::POST, "", new_airflow()).await;
    let location = response.header("location").to_owned();
    let created = response.expect(201);
    assert!(location.ends_with(created["id"].as_str().unwrap()));
    assert_eq!(
        created["config"],
        json!({"base_url": "https://airflow.example/base", "api_version": "auto",
               "schedule": "*/30 * * * * *", "history_days": 30, "verify_tls": true, "ca_certificate": null,
               "redact_conf": SecretKeys::default(),
               "max_requests_in_flight": 4, "max_requests_per_second": 50})
    );
    assert_eq!(created["credentials"], json!({"auth_type": "basic", "username": "svc", "headers": []}));
    assert_eq!(
        (&created["is_active"], &created["latest_sync"], &created["pipeline_count"]),
        (&json!(true), &Value::Null, &json!(0))
    );
    let id = created["id"].as_str().unwrap();
    assert_eq!(state(&test, id, "next_due_at <= now()").await, Some(true));
    assert_eq!(send(&test, Method::GET, &format!("/{id}"), Value::Null).await.expect(200), created);
    assert_eq!(
        field_of_each(&send(&test, Method::GET, "", Value::Null).await.expect(200), "name"),
        ["made", "prod airflow"]
    );
    send(&test, Method::POST, "", new_airflow()).await.expect(409);
    let stored: serde_json::Value = sqlx::query_scalar("select config from connectors where name = 'made'")
        .fetch_one(&test.db)
        .await
        .unwrap();
    serde_json::from_value::<provider::connector::ConnectorConfig>(stored)
        .expect("a configuration that the worker parses");
}

#[tokio::test]
async fn secrets_are_sealed_and_never_returned() {
    let test = TestApi::new().await;
    let id = create(&test).await;
    let sealed: Vec<u8> = sqlx::query_scalar("select credentials_sealed from connectors where name = 'made'")
        .fetch_one(&test.db)
        .await
        .unwrap();
    let connector = ConnectorId(id.parse::<Uuid>().unwrap());
    let opened = keyring("a").open(&credentials_aad(connector), &sealed).unwrap();
    let opened: Credentials = serde_json::from_slice(&opened).unwrap();
    assert!(opened == Credentials::Basic { username: "svc".into(), password: CANARY.into() });
    assert!(!String::from_utf8_lossy(&sealed).contains(CANARY));
    let path = format!("/{id}");
    for (method, path, body) in [
        (Method::GET, "", Value::Null),
        (Method::GET, path.as_str(), Value::Null),
        (Method::PATCH, path.as_str(), json!({"name": "renamed"})),
        (
            Method::PATCH,
            path.as_str(),
            json!({"credentials": {"auth_type": "basic", "username": CANARY, "password": 1}}),
        ),
        (Method::POST, "", json!({"credentials": {"auth_type": CANARY, "password": CANARY}})),
        (Method::POST, &format!("{path}/test"), Value::Null),
    ] {
        let response = send(&test, method.clone(), path, body).await;
        assert!(!response.body.to_string().contains(CANARY), "{method} {path}: {}", response.body);
    }
}

#[tokio::test]
async fn all_field_errors_of_a_new_connector_are_returned_together() {
    let test = TestApi::new().await;
    let invalid = json!({
        "name": " ", "connector_type": "airflow", "is_active": "yes",
        "config": {"base_url": "ftp://x", "api_version": "v3", "schedule": "0 0 30 2 *", "history_days": 0,
                   "verify_tls": null, "histroy_days": 3, "max_requests_in_flight": 33,
                   "max_requests_per_second": 0.5},
        "credentials": {"auth_type": "basic", "username": "", "headers": {"Host": "x"}},
    });
    let response = send(&test, Method::POST, "", invalid).await;
    assert_eq!(
        response.invalid_fields(),
        [
            "body.config.api_version",
            "body.config.base_url",
            "body.config.history_days",
            "body.config.histroy_days",
            "body.config.max_requests_in_flight",
            "body.config.max_requests_per_second",
            "body.config.schedule",
            "body.config.verify_tls",
            "body.credentials.headers",
            "body.credentials.password",
            "body.credentials.username",
            "body.is_active",
            "body.name",
        ]
    );
    let missing = send(&test, Method::POST, "", json!({"connector_type": "airflow"})).await;
    assert_eq!(missing.field_errors().len(), 2);
    assert_eq!(send(&test, Method::POST, "", json!({})).await.field_errors().len(), 2);
}

#[tokio::test]
async fn forbidden_addresses_are_rejected_when_saved() {
    let test = TestApi::with(ApiSetup { allow_private_networks: false, ..ApiSetup::default() }).await;
    for url in [
        "http://169.254.169.254",
        "http://10.0.0.1",
        "http://127.0.0.1:8080",
        "http://[::1]",
        "http://user:pw@x.example",
    ] {
        let mut config = new_airflow();
        config["config"]["base_url"] = json!(url);
        let rejected = send(&test, Method::POST, "", config).await;
        assert_eq!(
            rejected.field_errors(),
            [("body.config.base_url".to_owned(), "value_error.url".to_owned())],
            "{url}"
        );
    }
    let id = create(&test).await;
    let rejected =
        send(&test, Method::PATCH, &format!("/{id}"), json!({"config": {"base_url": "http://169.254.1.1"}}))
            .await;
    assert_eq!(rejected.status, 422);
}

#[tokio::test]
async fn a_resolved_address_is_checked_at_each_connection() {
    let test = TestApi::with(ApiSetup { allow_private_networks: false, ..ApiSetup::default() }).await;
    let fake = FakeAirflow::start(0).await;
    let path = format!("/{}", test.connector);
    let base_url = fake.url.replace("127.0.0.1", "localhost");
    let named = json!({"config": {"base_url": base_url}, "credentials": {"auth_type": "none"}});
    send(&test, Method::PATCH, &path, named).await.expect(200);
    let tested = send(&test, Method::POST, &format!("{path}/test"), Value::Null).await.expect(200);
    assert_eq!(tested["success"], false);
    let trigger = format!("/pipelines/{}/trigger", test.pipeline("p").await);
    let rejected = test.request(Method::POST, EDITOR, &trigger, Value::Null).await.expect(502);
    for message in [&tested["message"], &rejected["detail"]] {
        assert!(message.as_str().unwrap().contains("not allowed"), "{message}");
    }
    assert_eq!(fake.trigger_requests(), 0);
}

#[expect(clippy::too_many_lines, reason = "one line a change")]
#[tokio::test]
async fn a_change_keeps_other_fields_and_resets_the_dependent_sync_state() {
    let test = TestApi::new().await;
    let id = create(&test).await;
    let path = format!("/{id}");
    let reset = "
        update connector_state set next_due_at = '2099-01-01Z', credentials_refused_at = now(),
            retry_at = '2099-01-01Z', cursor_at = now(), lease_owner = 'w',
            lease_until = now() + interval '1 hour', lease_epoch = 7;
        delete from pipeline_crawls;
        insert into pipeline_crawls (connector_id, external_id, crawled_at)
        select connector_id, 'p', now() from connector_state";
    let crawls = format!("(select count(*) > 0 from pipeline_crawls where connector_id = '{id}')");
    // The change; whether the connector is due now then, its credentials are still refused, and it keeps its
    // cursor, its lease and its histories.
    for (change, due, rejected, cursor, lease, crawled) in [
        (json!({"name": "renamed"}), Some(false), true, true, true, true),
        (json!({"credentials": {"auth_type": "token", "token": "t"}}), Some(true), false, true, false, true),
        (json!({"config": {"max_requests_in_flight": 2}}), Some(false), true, true, true, true),
        (json!({"config": {"history_days": 60.0}}), Some(false), true, true, true, false),
        (json!({"config": {"history_days": 20}}), Some(false), true, true, true, true),
        (
            json!({"config": {"base_url": "https://airflow.example/moved"}}),
            Some(true),
            false,
            false,
            false,
            false,
        ),
        (
            json!({"config": {"base_url": "https://airflow.example/moved"}}),
            Some(false),
            true,
            true,
            true,
            true,
        ),
        (json!({"config": {"schedule": "0 0 * * * *"}}), Some(true), true, true, true, true),
        (json!({"is_active": false}), None, true, true, true, true),
        (json!({"is_active": true}), Some(true), true, true, true, true),
        (json!({"config": {"schedule": null}}), None, true, true, true, true),
    ] {
        test.sql(reset).await;
        let changed = send(&test, Method::PATCH, &path, change.clone()).await.expect(200);
        assert_eq!(changed["name"], "renamed", "{change}");
        assert_eq!(state(&test, &id, "next_due_at <= now()").await, due, "{change}");
        assert_eq!(state(&test, &id, "credentials_refused_at is not null").await, Some(rejected), "{change}");
        assert_eq!(state(&test, &id, "retry_at is not null").await, Some(rejected), "{change}");
        assert_eq!(state(&test, &id, "cursor_at is not null").await, Some(cursor), "{change}");
        assert_eq!(
            state(&test, &id, "lease_epoch = 7 and lease_until is not null").await,
            Some(lease),
            "{change}"
        );
        assert_eq!(state(&test, &id, &crawls).await, Some(crawled), "{change}");
    }
    let last = send(&test, Method::GET, &path, Value::Null).await.expect(200);
    assert_eq!(
        (&last["config"]["base_url"], &last["config"]["history_days"], &last["credentials"]),
        (&json!("https://airflow.example/moved"), &json!(20), &json!({"auth_type": "token", "headers": []}))
    );
    for (invalid, path_in_body) in [
        (json!({"name": null}), "body.name"),
        (json!({"connector_type": "dbt"}), "body.connector_type"),
        (json!({"credentials": {"auth_type": "basic"}}), "body.credentials.username"),
        (json!({"config": []}), "body.config"),
    ] {
        assert_eq!(send(&test, Method::PATCH, &path, invalid).await.field_errors()[0].0, path_in_body);
    }
    send(&test, Method::PATCH, &path, json!({"name": "prod airflow"})).await.expect(409);
}

#[tokio::test]
async fn concurrent_changes_of_different_fields_are_all_applied() {
    let test = TestApi::new().await;
    let path = format!("/{}", create(&test).await);
    // Without credentials, so that any field may change without them.
    send(&test, Method::PATCH, &path, json!({"credentials": {"auth_type": "none"}})).await.expect(200);
    for round in 1..=10 {
        let config = json!({
            "base_url": format!("https://airflow.example/{round}"), "schedule": format!("{round} * * * * *"),
            "history_days": round, "verify_tls": round % 2 == 0, "api_version": (["v1", "v2"][round % 2]),
            "max_requests_in_flight": round, "max_requests_per_second": round * 10, "ca_certificate": null,
            "redact_conf": [format!("key{round}")],
        });
        let fields = config.as_object().unwrap().iter();
        let changes =
            fields.map(|(name, value)| send(&test, Method::PATCH, &path, json!({"config": {name: value}})));
        for response in futures::future::join_all(changes).await {
            response.expect(200);
        }
        assert_eq!(send(&test, Method::GET, &path, Value::Null).await.expect(200)["config"], config);
    }
}

#[tokio::test]
async fn connectors_of_other_types_are_stored_and_cannot_be_tested() {
    let test = TestApi::new().await;
    let body = json!({"name": "warehouse", "connector_type": "snowflake", "config": {"account": "x"}});
    let created = send(&test, Method::POST, "", body).await.expect(201);
    assert_eq!(
        (&created["config"], &created["credentials"]),
        (&json!({"account": "x"}), &json!({"auth_type": "none", "headers": []}))
    );
    let path = format!("/{}", created["id"].as_str().unwrap());
    send(&test, Method::POST, &format!("{path}/test"), Value::Null).await.expect(400);
    let changed = send(&test, Method::PATCH, &path, json!({"config": {"account": "y"}})).await.expect(200);
    assert_eq!(changed["config"], json!({"account": "y"}));
    send(&test, Method::PATCH, &path, json!({"config": {"a\u{0}": 1}})).await.expect(422);
}

#[tokio::test]
async fn a_deleted_connector_keeps_its_history_and_fails_its_waiting_syncs() {
    let test = TestApi::new().await;
    let id = create(&test).await;
    let connector = ConnectorId(id.parse::<Uuid>().unwrap());
    let pipeline = test.pipeline_of(connector, "p").await;
    let run = test.run(pipeline, "r", "success", hours_ago(1)).await;
    let sync =
        test.request(Method::POST, EDITOR, &format!("/connectors/{id}/sync"), Value::Null).await.expect(202);
    let path = format!("{PATH}/{id}");
    test.send(Method::DELETE, EDITOR, &path, None).await.expect(403);
    test.send(Method::DELETE, ADMIN, &path, None).await.expect(204);
    test.send(Method::DELETE, ADMIN, &path, None).await.expect(404);
    test.send(Method::GET, ADMIN, &path, None).await.expect(404);
    assert_eq!(test.number("select count(*) from connectors where credentials_sealed is not null").await, 0);
    let ended = test
        .id(&format!(
            "select id from syncs where status = 'failed' and error is not null and id = {}",
            sync["id"].to_string().replace('"', "'")
        ))
        .await;
    assert_eq!(ended.to_string(), sync["id"].as_str().unwrap());
    assert_eq!(test.read("/pipelines").await, json!([]));
    let connector = test.read(&format!("/pipelines/{pipeline}")).await;
    assert_eq!((&connector["is_active"], &connector["connector_name"]), (&json!(false), &json!("made")));
    assert_eq!(test.read(&format!("/runs/{run}")).await["status"], "success");
    create(&test).await;
}

#[tokio::test]
async fn extra_headers_are_sealed_and_only_their_names_are_returned() {
    let test = TestApi::new().await;
    let mut config = new_airflow();
    config["credentials"]["headers"] = json!({"X-Gate": CANARY, "Proxy-Authorization": CANARY});
    let created = send(&test, Method::POST, "", config.clone()).await.expect(201);
    assert_eq!(
        created["credentials"],
        json!({"auth_type": "basic", "username": "svc", "headers": ["Proxy-Authorization", "X-Gate"]})
    );
    assert!(!created.to_string().contains(CANARY));
    let id = created["id"].as_str().unwrap();
    let sealed: Vec<u8> = sqlx::query_scalar("select credentials_sealed from connectors where name = 'made'")
        .fetch_one(&test.db)
        .await
        .unwrap();
    let opened = keyring("a").open(&credentials_aad(ConnectorId(id.parse().unwrap())), &sealed).unwrap();
    let opened: Secrets = serde_json::from_slice(&opened).unwrap();
    assert_eq!(opened.headers["X-Gate"].expose_secret(), CANARY);
    for (headers, expected) in [
        (json!({"Authorization": CANARY}), "authorization is set by this service itself"),
        (json!({"no spaces": CANARY}), "letters, digits and -"),
        (json!({"X-Gate": format!("{CANARY}\n")}), "x-gate holds characters that cannot be sent"),
        (json!({"X-Gate": 1}), "str type expected"),
        (json!([CANARY]), "not a valid dict"),
        (json!((0..21).map(|n| (format!("x-{n}"), CANARY)).collect::<BTreeMap<_, _>>()), "at most 20 items"),
    ] {
        config["credentials"]["headers"] = headers;
        let change = json!({"credentials": config["credentials"]});
        let rejected = send(&test, Method::PATCH, &format!("/{id}"), change).await;
        assert_eq!(rejected.status, 422);
        let message = rejected.body.to_string();
        assert!(message.contains(expected) && !message.contains(CANARY), "{message}");
    }
}

#[tokio::test]
async fn a_connector_contains_the_state_of_its_polls() {
    let test = TestApi::new().await;
    let path = format!("/{}", test.connector);
    let connector = send(&test, Method::GET, &path, Value::Null).await.expect(200);
    assert_eq!(
        (&connector["failures"], &connector["last_error"], &connector["retry_at"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    test.sql(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, error)
         select gen_random_uuid(), space_id, id, 'failed', 'schedule', now() - age, error
         from connectors,
             (values (interval '1 minute', 'the newest'), (interval '2 minutes', 'an older one'))
                 as failed(age, error);
         update connector_state set failures = 2, missed_ticks = 7, retry_at = '2026-03-03Z',
             credentials_refused_at = '2026-03-02Z', confirmed_at = '2026-03-01Z',
             next_due_at = '2026-03-04Z'",
    )
    .await;
    let connector = send(&test, Method::GET, &path, Value::Null).await.expect(200);
    for (field, value) in [
        ("failures", json!(2)),
        ("last_error", json!("the newest")),
        ("retry_at", json!("2026-03-03T00:00:00Z")),
        ("credentials_refused_at", json!("2026-03-02T00:00:00Z")),
        ("last_synced_at", json!("2026-03-01T00:00:00Z")),
        ("next_due_at", json!("2026-03-04T00:00:00Z")),
        ("missed_ticks", json!(7)),
    ] {
        assert_eq!(connector[field], value, "{field}");
    }
    test.sql("update connector_state set failures = 0").await;
    let healed = send(&test, Method::GET, &path, Value::Null).await.expect(200);
    assert_eq!((&healed["last_error"], &healed["retry_at"]), (&Value::Null, &Value::Null));
}
