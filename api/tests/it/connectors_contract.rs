//! What a connector's request may hold and its response contains, besides its fields' types: the times of its
//! syncs, its schedule, the accepted spellings of credentials, and when credentials are required again.

use api::store::connectors::ConnectorQuotas;
use axum::http::Method;
use contract::ids::ConnectorId;
use provider::connector::{Credentials, Secrets, credentials_aad};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::keyring;

use crate::app::{ApiSetup, TestApi};
use crate::connectors::{CANARY, create, new_airflow, send};
use crate::seed::EDITOR;

#[tokio::test]
async fn a_connector_contains_the_sync_that_began_last_and_when_one_last_ended() {
    let test = TestApi::new().await;
    let path = format!("/{}", test.connector);
    let read = async || send(&test, Method::GET, &path, Value::Null).await.expect(200);
    let sync = format!("/connectors/{}/sync", test.connector);
    test.request(Method::POST, EDITOR, &sync, Value::Null).await.expect(202);
    test.sql("update connector_state set last_success_at = '2026-03-03Z'").await;
    test.pipeline("p").await;
    let connector = read().await;
    assert_eq!(
        (&connector["queued_sync"]["status"], &connector["last_success_at"], &connector["last_sync"]),
        (&json!("queued"), &json!("2026-03-03T00:00:00Z"), &Value::Null)
    );
    assert_eq!((&connector["pipeline_count"], &connector["latest_sync"]), (&json!(1), &Value::Null));
    // Twenty were requested and cancelled while the first ran, and none of them has begun.
    test.sql(
        "insert into syncs (id, space_id, connector_id, status, trigger, requested_at, started_at,
             finished_at)
         select gen_random_uuid(), space_id, c.id, 'failed', 'manual', ended.* from connectors c, lateral (
             select timestamptz '2026-03-01T00:00Z', timestamptz '2026-03-01T00:00Z',
                 timestamptz '2026-03-01T01:00Z'
             union all
             select '2026-03-01T00:10Z', null, '2026-03-01T00:20Z' from generate_series(1, 20)) ended",
    )
    .await;
    let connector = read().await;
    assert_eq!(
        (&connector["latest_sync"]["finished_at"], &connector["last_sync"]),
        (&json!("2026-03-01T01:00:00Z"), &json!("2026-03-01T01:00:00Z"))
    );
    assert_eq!(connector["queued_sync"]["status"], "queued");
    test.sql("update syncs set status = 'running', started_at = now() where status = 'queued'").await;
    let connector = read().await;
    assert_eq!(
        (&connector["latest_sync"]["status"], &connector["queued_sync"]),
        (&json!("running"), &Value::Null)
    );
    assert_eq!(send(&test, Method::GET, "", Value::Null).await.expect(200)[0], connector);
}

#[tokio::test]
async fn a_schedule_has_five_or_six_fields_and_comes_at_some_time() {
    let test = TestApi::new().await;
    let path = format!("/{}", create(&test).await);
    let change = async |schedule: Value| {
        send(&test, Method::PATCH, &path, json!({"config": {"schedule": schedule}})).await
    };
    for accepted in ["*/5 * * * *", "*/30 * * * * *", "0 0 29 2 *", "0 0 0 29 2 *"] {
        let changed = change(json!(accepted)).await.expect(200);
        assert_eq!(changed["config"]["schedule"], accepted);
    }
    for refused in ["* * * *", "0 0 0 1 1 * 2020", "0 0 30 2 *", "0 0 0 31 4 *", "often"] {
        assert_eq!(
            change(json!(refused)).await.field_errors(),
            [("body.config.schedule".to_owned(), "value_error.cron".to_owned())],
            "{refused}"
        );
    }
}

fn with_token_url(url: &str) -> Value {
    json!({"auth_type": "oauth2", "token_url": url, "client_id": "svc", "client_secret": CANARY})
}

#[tokio::test]
async fn published_spellings_of_credentials_are_read_back_as_ours() {
    let test = TestApi::new().await;
    let id = create(&test).await;
    let basic = json!({"auth_type": "basic", "username": "svc", "headers": []});
    let token = json!({"auth_type": "token", "headers": []});
    let client = json!({
        "auth_type": "oauth2", "token_url": "https://idp.example/token?tenant=1", "client_id": "svc",
        "scope": "airflow", "audience": null, "headers": [],
    });
    let mut given_client = client.clone();
    given_client["client_secret"] = CANARY.into();
    given_client["headers"] = json!({});
    for (given, returned) in [
        (json!({"auth_type": "password", "username": "svc", "password": CANARY}), &basic),
        (json!({"username": "svc", "password": CANARY}), &basic),
        (json!({"auth_type": "api_token", "api_token": CANARY}), &token),
        (given_client, &client),
    ] {
        let change = json!({"credentials": given});
        let changed = send(&test, Method::PATCH, &format!("/{id}"), change).await.expect(200);
        assert_eq!(&changed["credentials"], returned, "{given}");
        let sealed: Vec<u8> =
            sqlx::query_scalar("select credentials_sealed from connectors where name = 'made'")
                .fetch_one(&test.db)
                .await
                .unwrap();
        let opened = keyring("a").open(&credentials_aad(ConnectorId(id.parse().unwrap())), &sealed).unwrap();
        let opened: Secrets = serde_json::from_slice(&opened).unwrap();
        let secret = match &opened.credentials {
            Credentials::Basic { password, .. } => password,
            Credentials::Token { token } => token,
            Credentials::Oauth2(client) => client.client_secret.as_ref().unwrap(),
            Credentials::ServiceAccount(_) | Credentials::None => panic!("{given} is stored as another kind"),
        };
        assert_eq!(secret.expose_secret(), CANARY, "{given}");
    }
}

#[tokio::test]
async fn invalid_credentials_are_rejected_by_field() {
    let test = TestApi::new().await;
    let id = create(&test).await;
    for (given, field) in [
        (json!({}), "body.credentials.auth_type"),
        (json!({"password": CANARY}), "body.credentials.auth_type"),
        (json!({"username": "svc"}), "body.credentials.password"),
        (json!({"auth_type": "api_token", "token": CANARY}), "body.credentials.api_token"),
        (json!({"auth_type": "oauth2", "client_id": "svc"}), "body.credentials.token_url"),
        (with_token_url("ftp://idp.example/"), "body.credentials.token_url"),
        (with_token_url("https://svc:secret@idp.example/"), "body.credentials.token_url"),
        (with_token_url("http://169.254.169.254/"), "body.credentials.token_url"),
    ] {
        let rejected = send(&test, Method::PATCH, &format!("/{id}"), json!({"credentials": given})).await;
        assert_eq!(rejected.field_errors()[0].0, field, "{given}");
    }
}

#[tokio::test]
async fn a_ca_certificate_is_checked_and_returned() {
    let test = TestApi::new().await;
    let path = format!("/{}", create(&test).await);
    let change = async |value: Value| {
        send(&test, Method::PATCH, &path, json!({"config": {"ca_certificate": value}})).await
    };
    let pem = include_str!("../schemathesis/authority.pem");
    let two = format!("{pem}{pem}");
    for accepted in [json!(pem), json!(two), Value::Null] {
        assert_eq!(change(accepted.clone()).await.expect(200)["config"]["ca_certificate"], accepted);
    }
    let key = format!("{pem}-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n");
    let broken = pem.replace("MII", "AAA");
    for refused in [json!("text"), json!(key), json!(broken), json!("")] {
        let response = change(refused.clone()).await;
        assert_eq!(response.invalid_fields(), ["body.config.ca_certificate"], "{refused}");
        assert!(!response.body.to_string().contains(CANARY));
    }
}

#[tokio::test]
async fn patterns_of_secret_keys_are_checked_and_returned() {
    let test = TestApi::new().await;
    let path = format!("/{}", create(&test).await);
    let change = async |value: Value| {
        send(&test, Method::PATCH, &path, json!({"config": {"redact_conf": value}})).await
    };
    for accepted in [json!(["pin", "*key*"]), json!([])] {
        assert_eq!(change(accepted.clone()).await.expect(200)["config"]["redact_conf"], accepted);
    }
    for refused in [json!("pin"), json!([1]), json!([""]), json!(vec!["a"; 51]), Value::Null] {
        assert_eq!(change(refused.clone()).await.invalid_fields(), ["body.config.redact_conf"], "{refused}");
    }
}

/// Otherwise an editor could have the secrets of a connector sent to a server of their own.
#[tokio::test]
async fn credentials_are_required_again_for_another_origin_and_without_verification() {
    let test = TestApi::new().await;
    let path = format!("/{}", create(&test).await);
    let change = async |body: Value| send(&test, Method::PATCH, &path, body).await;
    let unsafe_configs = [
        json!({"base_url": "https://other.example/base"}),
        json!({"base_url": "http://airflow.example/base"}),
        json!({"base_url": "https://airflow.example:8443/base"}),
        json!({"verify_tls": false}),
    ];
    let with_header = json!({"auth_type": "none", "headers": {"X-Gate": CANARY}});
    let secrets = [new_airflow()["credentials"].clone(), with_header];
    for credentials in &secrets {
        change(json!({"credentials": credentials})).await.expect(200);
        let before = send(&test, Method::GET, &path, Value::Null).await.expect(200);
        for config in &unsafe_configs {
            let rejected = change(json!({"config": config, "name": "kept"})).await;
            let expected = ("body.credentials".to_owned(), "value_error.missing".to_owned());
            assert_eq!(rejected.field_errors(), [expected], "{config}");
        }
        assert_eq!(send(&test, Method::GET, &path, Value::Null).await.expect(200), before);
    }
    for harmless in [
        json!({"base_url": "https://AIRFLOW.example:443/other", "verify_tls": true}),
        json!({"history_days": 3}),
    ] {
        change(json!({"config": harmless})).await.expect(200);
    }
    for config in &unsafe_configs {
        change(json!({"config": config, "credentials": secrets[0]})).await.expect(200);
    }
    // It is off already.
    change(json!({"config": {"verify_tls": false}})).await.expect(200);
    change(json!({"config": {"verify_tls": true}, "credentials": {"auth_type": "none"}})).await.expect(200);
    for config in &unsafe_configs {
        change(json!({"config": config})).await.expect(200);
    }
}

#[tokio::test]
async fn quotas_bound_the_connectors_of_a_space_and_their_speed() {
    let quotas = ConnectorQuotas { max_connectors: 3, min_poll_interval: 60, max_requests_per_second: 20 };
    let test = TestApi::with(ApiSetup { quotas, ..ApiSetup::default() }).await;
    let new = |name: &str, schedule: &str| {
        let mut new = new_airflow();
        new["name"] = json!(name);
        new["config"]["schedule"] = json!(schedule);
        new
    };
    for schedule in ["*/30 * * * * *", "0,30 0 4 * * *", "* * * * * *"] {
        let rejected = send(&test, Method::POST, "", new("fast", schedule)).await;
        assert_eq!(rejected.invalid_fields(), ["body.config.schedule"], "{schedule}");
    }
    let made = send(&test, Method::POST, "", new("made", "*/1 * * * *")).await.expect(201);
    assert_eq!(made["config"]["max_requests_per_second"], 20);
    let faster = json!({"config": {"max_requests_per_second": 21}});
    let path = format!("/{}", made["id"].as_str().unwrap());
    let rejected = send(&test, Method::PATCH, &path, faster).await;
    assert_eq!(rejected.invalid_fields(), ["body.config.max_requests_per_second"]);
    // The space has one besides, and eight more are asked for at once.
    let present = test
        .number(
            "select count(*) from connectors c join spaces s on s.id = c.space_id
                               where s.slug = 'finance' and c.deleted_at is null",
        )
        .await;
    let more = (0..8).map(|n| {
        let (test, new) = (&test, new(&format!("more {n}"), "0 * * * *"));
        async move { send(test, Method::POST, "", new).await.status }
    });
    let created = futures::future::join_all(more).await.into_iter().filter(|status| *status == 201).count();
    assert_eq!(present + i64::try_from(created).unwrap(), 3);
    send(&test, Method::POST, "", new("one more", "0 * * * *")).await.expect(409);
}
