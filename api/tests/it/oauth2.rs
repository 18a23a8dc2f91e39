//! A connector behind a real identity provider: created, tested and triggered over HTTP.

use axum::http::Method;
use serde_json::{Value, json};
use testkit::{FakeAirflow, GATEWAY_SECRET, TokenGateway, TokenGatewaySettings};

use crate::app::TestApi;
use crate::connectors::send;
use crate::seed::EDITOR;

#[tokio::test]
async fn a_guarded_airflow_is_tested_and_triggered() {
    let airflow = FakeAirflow::start(1).await;
    let settings = TokenGatewaySettings { upstream: airflow.url.clone(), ..TokenGatewaySettings::default() };
    let guarded = TokenGateway::start(settings).await;
    let test = TestApi::new().await;
    let path = format!("/{}", test.connector);
    let connect = json!({"config": {"base_url": guarded.gateway}, "credentials": guarded.credentials()});
    let changed = send(&test, Method::PATCH, &path, connect.clone()).await.expect(200);
    assert_eq!(changed["credentials"]["client_id"], guarded.credentials()["client_id"]);
    assert!(!changed.to_string().contains(GATEWAY_SECRET), "{changed}");
    let check = async || send(&test, Method::POST, &format!("{path}/test"), Value::Null).await.expect(200);
    let tested = check().await;
    assert_eq!(tested["success"], true, "{tested}");
    let with_account = json!({"credentials": guarded.service_account()});
    send(&test, Method::PATCH, &path, with_account).await.expect(200);
    let tested = check().await;
    assert_eq!(tested["success"], true, "{tested}");
    let pipeline = test.pipeline_of(test.connector, "dag_0000").await;
    let trigger = format!("/pipelines/{pipeline}/trigger");
    test.request(Method::POST, EDITOR, &trigger, json!({})).await.expect(201);

    let mut wrong = connect;
    wrong["credentials"]["client_secret"] = "canary-wrong".into();
    send(&test, Method::PATCH, &path, wrong).await.expect(200);
    let refused = check().await;
    let rejected = test.request(Method::POST, EDITOR, &trigger, json!({})).await;
    let host = guarded.issuer.trim_start_matches("http://");
    for message in [&refused["message"], &rejected.body["detail"]] {
        let message = message.as_str().unwrap();
        let refusal = format!("the identity provider at {host} says invalid_client");
        assert!(message.contains(&refusal), "{message}");
        assert!(!message.contains("canary"), "{message}");
    }
    guarded.stop().await;
    let away = check().await;
    assert!(away["message"].as_str().unwrap().contains("gave no token"), "{away}");
}
