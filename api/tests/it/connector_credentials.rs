//! Client certificates and service accounts in the credentials of a connector: what is accepted, sealed and
//! read back.

use std::path::Path;
use std::process::Command;

use api::store::connectors;
use axum::http::Method;
use contract::ids::{ConnectorId, SpaceId};
use provider::connector::Secrets;
use serde_json::{Value, json};
use testkit::keyring;

use crate::app::TestApi;
use crate::connectors::{create, send};
use crate::response::TestResponse;

/// A connector, and the files of a certificate that an authority has signed.
struct CredentialsTest {
    test: TestApi,
    id: String,
    certificate: String,
    key: String,
    authority: String,
}

impl CredentialsTest {
    async fn new() -> Self {
        let test = TestApi::new().await;
        let id = create(&test).await;
        let folder = tempfile::tempdir().unwrap();
        let files = local::certificates(folder.path()).await.unwrap();
        let read = |file: &Path| std::fs::read_to_string(file).unwrap();
        let (certificate, key) = (read(&files.certificate), read(&files.key));
        Self { test, id, certificate, key, authority: read(&files.authority) }
    }

    async fn change(&self, body: Value) -> TestResponse {
        send(&self.test, Method::PATCH, &format!("/{}", self.id), body).await
    }

    /// Stores credentials; what is read back of them.
    async fn stored(&self, credentials: &Value) -> Value {
        let changed = self.change(json!({ "credentials": credentials })).await.expect(200);
        assert!(!changed.to_string().contains("PRIVATE KEY"), "{changed}");
        changed["credentials"].clone()
    }

    /// The errors of credentials: field and message.
    async fn faults(&self, credentials: Value) -> Vec<(String, String)> {
        let refused = self.change(json!({ "credentials": credentials })).await;
        assert!(!refused.body.to_string().contains("PRIVATE KEY-----\\nM"), "{}", refused.body);
        let detail = refused.expect(422)["detail"].clone();
        let fault = |fault: &Value| {
            let loc: Vec<&str> = fault["loc"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            (loc[2..].join("."), fault["msg"].as_str().unwrap().to_owned())
        };
        detail.as_array().unwrap().iter().map(fault).collect()
    }

    async fn opened(&self) -> Secrets {
        let connector = ConnectorId(self.id.parse().unwrap());
        let space = self.test.id("select id from spaces where slug = 'finance'").await;
        let row = connectors::find_stored(&self.test.db, SpaceId(space), connector).await.unwrap().unwrap();
        row.open(connector, &keyring("a")).unwrap().1
    }

    fn account(&self) -> Value {
        json!({"auth_type": "service_account", "key": {
            "type": "service_account", "project_id": "p", "private_key_id": "first", "private_key": self.key,
            "client_email": "svc@p.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        }})
    }
}

#[tokio::test]
async fn a_client_certificate_is_sealed_beside_any_credentials_and_read_back_without_its_key() {
    let it = CredentialsTest::new().await;
    let client = json!({"auth_type": "oauth2", "token_url": "https://idp.example/token", "client_id": "svc"});
    for mut credentials in [json!({"auth_type": "none"}), json!({"username": "svc", "password": ""}), client]
    {
        credentials["client_certificate"] = it.certificate.as_str().into();
        credentials["client_key"] = it.key.as_str().into();
        let returned = it.stored(&credentials).await;
        assert_eq!(returned["client_certificate"], it.certificate, "{credentials}");
        assert!(returned.get("client_key").is_none(), "{returned}");
        let sealed = serde_json::to_value(it.opened().await).unwrap();
        assert_eq!((&sealed["client_key"], &sealed["client_secret"]), (&json!(it.key), &Value::Null));
    }
    // It is a credential of its own, which another origin must not see unnoticed.
    it.stored(&json!({
        "auth_type": "none", "client_certificate": it.certificate, "client_key": it.key,
    }))
    .await;
    let moved = json!({"config": {"base_url": "https://other.example"}});
    assert_eq!(it.change(moved.clone()).await.invalid_fields(), ["body.credentials"]);
    assert_eq!(it.stored(&json!({"auth_type": "none"})).await, json!({"auth_type": "none", "headers": []}));
    it.change(moved).await.expect(200);
}

#[tokio::test]
async fn a_client_certificate_that_cannot_be_used_is_refused_in_words() {
    let it = CredentialsTest::new().await;
    let pair = |certificate: &str, key: &str| {
        let mut credentials = json!({"auth_type": "none", "client_key": key});
        credentials["client_certificate"] = certificate.into();
        credentials
    };
    let bundle = format!("{}{}", it.certificate, it.key);
    for (credentials, field, words) in [
        (pair(&it.authority, &it.key), "client_key", "of another certificate"),
        (pair(&it.certificate, "text"), "client_key", "a private key as PEM"),
        (pair(&it.certificate, &encrypted(&it.key)), "client_key", "passphrase"),
        (pair("text", &it.key), "client_certificate", "certificates as PEM"),
        (pair(&bundle, &it.key), "client_certificate", "must not contain a private key"),
        (json!({"auth_type": "none", "client_key": it.key}), "client_certificate", "field required"),
        (json!({"auth_type": "none", "client_certificate": it.certificate}), "client_key", "field required"),
    ] {
        let faults = it.faults(credentials).await;
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].0 == field && faults[0].1.contains(words), "{faults:?}");
    }
    let without_secret =
        json!({"auth_type": "oauth2", "token_url": "https://idp.example/token", "client_id": "svc"});
    assert_eq!(it.faults(without_secret).await[0].0, "client_secret");
}

/// The key with a passphrase.
fn encrypted(key: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, key).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkey", "-aes256", "-passout", "pass:p", "-in"]).arg(file);
    String::from_utf8(openssl.output().unwrap().stdout).unwrap()
}

#[tokio::test]
async fn a_service_account_is_read_back_without_its_key() {
    let it = CredentialsTest::new().await;
    let mut account = it.account();
    let public = json!({
        "auth_type": "service_account", "scope": null, "audience": null, "headers": [], "key": {
            "client_email": "svc@p.iam.gserviceaccount.com", "private_key_id": "first",
            "token_uri": "https://oauth2.googleapis.com/token",
        },
    });
    assert_eq!(it.stored(&account).await, public);
    let sealed = serde_json::to_value(it.opened().await).unwrap();
    assert_eq!((&sealed["key"]["private_key"], sealed["key"].get("project_id")), (&json!(it.key), None));
    account["audience"] = "client.apps.googleusercontent.com".into();
    assert_eq!(it.stored(&account).await["audience"], account["audience"]);
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_refused_by_field() {
    let it = CredentialsTest::new().await;
    let with = |field: &str, value: Value| {
        let mut account = it.account();
        account["key"][field] = value;
        account
    };
    let mut both = it.account();
    (both["scope"], both["audience"]) = (json!("a"), json!("b"));
    let mut text = it.account();
    text["key"] = json!(it.key);
    for (credentials, field) in [
        (with("type", json!("authorized_user")), "key.type"),
        (with("private_key", json!("text")), "key.private_key"),
        (with("private_key", json!(it.certificate)), "key.private_key"),
        (with("client_email", Value::Null), "key.client_email"),
        (with("token_uri", json!("http://169.254.169.254/token")), "key.token_uri"),
        (json!({"auth_type": "service_account"}), "key"),
        (text, "key"),
        (both, "audience"),
    ] {
        let faults = it.faults(credentials).await;
        assert_eq!(faults.iter().map(|fault| fault.0.as_str()).collect::<Vec<_>>(), [field], "{faults:?}");
    }
}
