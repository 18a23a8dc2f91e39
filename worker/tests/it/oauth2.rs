//! Airflow behind a real identity provider: tokens expire, are revoked, and cannot be had for a while.

use std::time::Duration;

use local::Certificates;
use provider::ProviderError;
use serde_json::Value;
use testkit::{FakeAirflow, TokenGateway, TokenGatewaySettings};
use worker::sync::SyncError;

use crate::test_worker::TestWorker;

/// A worker whose connector leads through the gateway of an identity provider to an Airflow.
pub(crate) async fn guarded(settings: TokenGatewaySettings) -> (TestWorker, TokenGateway) {
    let airflow = FakeAirflow::start(2).await;
    let idp = TokenGateway::start(TokenGatewaySettings { upstream: airflow.url, ..settings }).await;
    let test = TestWorker::start().await;
    test.set_base_url(&idp.gateway).await;
    store(&test, idp.credentials()).await;
    (test, idp)
}

/// Stores credentials.
pub(crate) async fn store(test: &TestWorker, credentials: Value) {
    let secrets = serde_json::from_value(credentials).unwrap();
    testkit::store_credentials(&test.pool, test.connector, &test.worker.runner.keyring, &secrets).await;
}

/// Trusts an authority besides the system's.
pub(crate) async fn trust(test: &TestWorker, certificates: &Certificates) {
    sqlx::query("update connectors set config = config || jsonb_build_object('ca_certificate', $1)")
        .bind(std::fs::read_to_string(&certificates.authority).unwrap())
        .execute(&test.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn syncs_share_a_token_until_it_is_revoked() {
    for (authentication, refusal) in [("client_secret_basic", 401), ("client_secret_post", 403)] {
        let settings = TokenGatewaySettings {
            authentication: Some(authentication),
            refusal: Some(refusal),
            ..TokenGatewaySettings::default()
        };
        let (test, idp) = guarded(settings).await;
        let synced = test.run_sync(true).await.unwrap();
        assert_eq!(synced.report.pipelines_seen, 2);
        test.run_sync(false).await.unwrap();
        assert_eq!(idp.issued().await, 1, "{authentication}");
        idp.revoke_tokens().await;
        test.run_sync(false).await.unwrap();
        assert_eq!(idp.issued().await, 2, "{authentication}");
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let settings = TokenGatewaySettings { token_lifetime: Some(1), ..TokenGatewaySettings::default() };
    let (test, idp) = guarded(settings).await;
    test.run_sync(true).await.unwrap();
    let issued = idp.issued().await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    test.run_sync(false).await.unwrap();
    assert!(idp.issued().await > issued);
}

#[tokio::test]
async fn an_identity_provider_that_is_away_stops_polls_only_until_it_is_back() {
    let (test, idp) = guarded(TokenGatewaySettings::default()).await;
    test.run_sync(true).await.unwrap();
    idp.stop().await;
    // The token is still valid.
    test.run_sync(false).await.unwrap();
    idp.revoke_tokens().await;
    let error = test.run_sync(false).await.unwrap_err();
    assert!(matches!(error, SyncError::Provider(ProviderError::TokenUnavailable { .. })), "{error}");
    assert!(error.to_string().contains("identity provider at localhost:"), "{error}");
    idp.start_again().await;
    test.run_sync(false).await.unwrap();
}

/// Neither the gateway nor the identity provider is trusted by the system.
#[tokio::test]
async fn a_private_authority_is_trusted_by_its_connector() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = local::certificates(folder.path()).await.unwrap();
    let settings =
        TokenGatewaySettings { certificates: Some(certificates.clone()), ..TokenGatewaySettings::default() };
    let (test, _idp) = guarded(settings).await;
    let error = test.run_sync(false).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    trust(&test, &certificates).await;
    test.run_sync(false).await.unwrap();
}

#[tokio::test]
async fn a_refused_client_is_marked_and_works_again_with_the_right_secret() {
    let (test, idp) = guarded(TokenGatewaySettings::default()).await;
    let mut wrong = idp.credentials();
    wrong["client_secret"] = "canary-wrong".into();
    store(&test, wrong).await;
    let error = test.run_sync(false).await.unwrap_err();
    assert!(matches!(error, SyncError::Provider(ProviderError::CredentialsRefused { .. })), "{error}");
    assert!(error.to_string().contains("invalid_client"), "{error}");
    let is_marked = "select credentials_refused_at is not null from connector_state";
    assert!(sqlx::query_scalar::<_, bool>(is_marked).fetch_one(&test.pool).await.unwrap());
    store(&test, idp.credentials()).await;
    test.run_sync(false).await.unwrap();
    assert!(!sqlx::query_scalar::<_, bool>(is_marked).fetch_one(&test.pool).await.unwrap());
}
