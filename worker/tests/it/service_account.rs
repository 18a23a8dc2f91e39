//! Service accounts of Google: another library verifies the assertions that are signed for their tokens.

use provider::ProviderError;
use serde_json::json;
use testkit::TokenGatewaySettings;
use worker::sync::SyncError;

use crate::oauth2::{guarded, store};

#[tokio::test]
async fn a_service_account_gets_access_tokens_and_id_tokens() {
    let (test, idp) = guarded(TokenGatewaySettings::default()).await;
    for audience in [None, Some("airflow.example")] {
        let mut account = idp.service_account();
        if audience.is_some() {
            (account["scope"], account["audience"]) = (json!(null), json!(audience));
        }
        store(&test, account).await;
        let issued = idp.issued().await;
        let synced = test.run_sync(true).await.unwrap();
        assert_eq!(synced.report.pipelines_seen, 2);
        test.run_sync(false).await.unwrap();
        assert_eq!(idp.issued().await, issued + 1, "{audience:?}");
        idp.revoke_tokens().await;
        test.run_sync(false).await.unwrap();
        assert_eq!(idp.issued().await, issued + 2, "{audience:?}");
    }
}

#[tokio::test]
async fn a_service_account_that_is_refused_is_named_without_its_assertion() {
    let folder = tempfile::tempdir().unwrap();
    let other_key = std::fs::read_to_string(local::certificates(folder.path()).await.unwrap().key).unwrap();
    let (test, idp) = guarded(TokenGatewaySettings::default()).await;
    let change = |field: &str, value: &str| {
        let mut account = idp.service_account();
        account["key"][field] = value.into();
        account
    };
    let mut without_scope = idp.service_account();
    without_scope["scope"] = json!(null);
    for (account, reason) in [
        (without_scope, "scope"),
        (change("private_key", &other_key), "signature verification failed"),
        (change("client_email", "other@example.org"), "\"iss\""),
        (change("private_key_id", "second"), "key id"),
    ] {
        store(&test, account).await;
        let error = test.run_sync(false).await.unwrap_err();
        assert!(matches!(error, SyncError::Provider(ProviderError::CredentialsRefused { .. })), "{error}");
        let text = error.to_string();
        assert!(text.contains("says invalid_grant") && text.contains(reason), "{text}");
        assert!(text.contains(" in …") && !text.contains("eyJ"), "{text}");
    }
    assert_eq!(idp.issued().await, 0);
}
