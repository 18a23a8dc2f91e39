//! Servers that demand a client certificate in the TLS handshake: Airflow, and the identity provider before
//! it.

use std::path::Path;

use local::Certificates;
use provider::ProviderError;
use serde_json::{Value, json};
use testkit::{GATEWAY_CLIENT, GATEWAY_SECRET, TokenGatewaySettings};
use worker::sync::SyncError;

use crate::oauth2::{guarded, store, trust};

/// The certificates of the servers and of their client, in a folder.
async fn certificates(folder: &Path) -> (Certificates, Certificates) {
    let server = local::certificates(folder).await.unwrap();
    (server, local::client_certificate(folder, GATEWAY_CLIENT).await.unwrap())
}

fn with_certificate(mut credentials: Value, client: &Certificates) -> Value {
    let read = |file: &Path| Value::from(std::fs::read_to_string(file).unwrap());
    credentials["client_certificate"] = read(&client.certificate);
    credentials["client_key"] = read(&client.key);
    credentials
}

#[tokio::test]
async fn a_client_certificate_is_presented_beside_any_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = certificates(folder.path()).await;
    let (test, _idp) = guarded(TokenGatewaySettings {
        is_open: true,
        certificates: Some(server.clone()),
        client_certificate: Some(client.clone()),
        ..TokenGatewaySettings::default()
    })
    .await;
    trust(&test, &server).await;
    for credentials in [json!({"auth_type": "none"}), json!({"auth_type": "token", "token": "t"})] {
        store(&test, credentials.clone()).await;
        let error = test.run_sync(false).await.unwrap_err();
        assert!(matches!(error, SyncError::Provider(ProviderError::Unreachable { .. })), "{error}");
        store(&test, with_certificate(credentials, &client)).await;
        assert_eq!(test.run_sync(true).await.unwrap().report.pipelines_seen, 2);
    }
}

/// The token is bound to the certificate, so that Airflow's gateway must see the same one.
#[tokio::test]
async fn a_client_authenticates_with_its_certificate_at_the_token_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = certificates(folder.path()).await;
    let (test, idp) = guarded(TokenGatewaySettings {
        certificates: Some(server.clone()),
        client_certificate: Some(client),
        ..TokenGatewaySettings::default()
    })
    .await;
    trust(&test, &server).await;
    test.run_sync(true).await.unwrap();
    test.run_sync(false).await.unwrap();
    assert_eq!(idp.issued().await, 1);

    let other = tempfile::tempdir().unwrap();
    let (_, foreign) = certificates(other.path()).await;
    let another = local::client_certificate(folder.path(), "another client").await.unwrap();
    let mut with_secret = idp.credentials();
    let fields = with_secret.as_object_mut().unwrap();
    fields.retain(|name, _| !["client_certificate", "client_key"].contains(&name.as_str()));
    fields.insert("client_secret".to_owned(), GATEWAY_SECRET.into());
    for (credentials, reason) in [
        (with_secret, "gave no token"),
        (with_certificate(idp.credentials(), &foreign), "gave no token"),
        (with_certificate(idp.credentials(), &another), "invalid_client"),
    ] {
        store(&test, credentials).await;
        let error = test.run_sync(false).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert_eq!(idp.issued().await, 1);
}
