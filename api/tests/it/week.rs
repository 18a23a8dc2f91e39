//! An operator's week, on both programs, a real identity provider and a private authority: people come and
//! go, keys and credentials are rotated, the identity provider is away for a while, and limits are reached.

use std::time::Duration;

use axum::http::Method;
use local::RoleUrls;
use serde_json::{Value, json};
use testkit::{FakeAirflow, TokenGateway, TokenGatewaySettings, eventually};

use crate::app::SPACE;
use crate::event_stream::StreamClient;
use crate::system::{RunningSystem, SystemSettings};

/// How long a stream of a removed member may stay open, on a busy machine.
const STREAM_TIMEOUT: Duration = Duration::from_secs(30);
const ADMIN_EMAIL: &str = "ada@example.org";
const HIRED_EMAIL: &str = "ben@example.org";
/// The variable with the number of seconds for which the identity provider is away; a moment without it.
const OUTAGE_SECONDS: &str = "OUTAGE_SECONDS";
const ONE_CONNECTOR: [&str; 2] = ["--max-connectors", "1"];

/// The installation and the people of one test.
struct Week {
    settings: SystemSettings,
    system: RunningSystem,
    /// The admin's key.
    ada: String,
    connector: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_of_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = local::certificates(folder.path()).await.unwrap();
    let authority = std::fs::read_to_string(&certificates.authority).unwrap();
    let airflow = FakeAirflow::start(2).await;
    let guarded = TokenGateway::start(TokenGatewaySettings {
        upstream: airflow.url.clone(),
        token_lifetime: Some(2),
        certificates: Some(certificates),
        ..TokenGatewaySettings::default()
    })
    .await;
    let mut week = Box::pin(Week::begin(&guarded, &authority)).await;
    Box::pin(week.allow_the_network()).await;
    Box::pin(week.people_come_and_go()).await;
    Box::pin(week.identity_provider_is_away(&guarded)).await;
    Box::pin(week.credentials_are_rotated_late(&guarded)).await;
    Box::pin(week.reach_the_quota()).await;
    Box::pin(week.disable_the_last_admin()).await;
}

impl Week {
    /// Installs everything, and connects an Airflow whose network is not allowed yet.
    async fn begin(guarded: &TokenGateway, authority: &str) -> Self {
        let database = local::test_database().await.unwrap();
        let (owner, worker, api) = (database.url, database.worker_url, database.api_url);
        let settings = SystemSettings::new(RoleUrls { owner, worker, api }).await;
        settings.administer(&["space", "create", SPACE, "--name", "Finance"]).await;
        let ada = settings.hire(ADMIN_EMAIL, "admin").await;
        let system = RunningSystem::start(&settings, &["--allow-private-networks=false"], &[]).await;
        let config = json!({"base_url": guarded.gateway, "ca_certificate": authority});
        let connector = system.connect(&ada, config, guarded.credentials()).await;
        Self { settings, system, ada, connector }
    }

    fn request<'a>(&'a self, method: Method, path: &'a str) -> (Method, &'a str, &'a str) {
        (method, &self.ada, path)
    }

    /// Waits until the connector has this property.
    async fn wait_for(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        self.system.wait_for(what, &self.ada, &self.connector, holds).await;
    }

    /// Waits until a sync has succeeded that began after this call.
    async fn wait_for_success(&self) {
        let before = self.system.expect(200, self.request(Method::GET, &self.connector), Value::Null).await;
        let before = before["last_success_at"].clone();
        self.wait_for("a sync succeeds", |it| {
            it["last_success_at"].is_string() && it["last_success_at"] != before && it["failures"] == 0
        })
        .await;
    }

    async fn allow_the_network(&mut self) {
        self.wait_for("the address is refused", |it| {
            it["last_error"].as_str().is_some_and(|error| error.contains("ORCHESTRATION_ALLOW_LOOPBACK"))
        })
        .await;
        let allowed = ["--allow-private-networks=false", "--allow-loopback"];
        self.system = RunningSystem::start(&self.settings, &allowed, &ONE_CONNECTOR).await;
        self.wait_for_success().await;
    }

    /// Hires, promotes, rotates a key, and removes; the stream of the removed member ends.
    async fn people_come_and_go(&self) {
        let system = &self.system;
        let first = self.settings.hire(HIRED_EMAIL, "viewer").await;
        let sync = format!("{}/sync", self.connector);
        system.expect(403, (Method::POST, &first, &sync), Value::Null).await;
        let members = format!("/spaces/{SPACE}/members");
        let listed = system.expect(200, self.request(Method::GET, &members), Value::Null).await;
        let rows = listed.as_array().unwrap();
        let hired = rows.iter().find(|row| row["user"]["email"] == HIRED_EMAIL).unwrap();
        let member = format!("{members}/{}", hired["user"]["id"].as_str().unwrap());
        system.expect(200, self.request(Method::PUT, &member), json!({"role": "editor"})).await;
        system.expect(202, (Method::POST, &first, &sync), Value::Null).await;

        let new = system.expect(201, (Method::POST, &first, "/api-keys"), json!({"label": "second"})).await;
        let second = new["key"].as_str().unwrap();
        let keys = system.expect(200, (Method::GET, second, "/api-keys"), Value::Null).await;
        let old = keys.as_array().unwrap().iter().find(|key| key["id"] != new["id"]).unwrap();
        let old = format!("/api-keys/{}", old["id"].as_str().unwrap());
        system.expect(204, (Method::DELETE, second, &old), Value::Null).await;
        self.wait_until_rejected(&first).await;

        let mut stream = StreamClient::open(&system.api.url, second, "", None).await;
        system.expect(204, self.request(Method::DELETE, &member), Value::Null).await;
        let ended = tokio::time::timeout(STREAM_TIMEOUT, async { while stream.next().await.is_some() {} });
        ended.await.expect("the stream of a removed member ends");
        system.expect(404, (Method::GET, second, &members), Value::Null).await;
    }

    async fn wait_until_rejected(&self, key: &str) {
        let is_rejected = async || self.system.call(Method::GET, key, "/me", Value::Null).await.0 == 401;
        eventually("the key is rejected", STREAM_TIMEOUT, is_rejected).await;
    }

    /// Syncs fail while no token can be had, and go on without a change.
    async fn identity_provider_is_away(&self, guarded: &TokenGateway) {
        guarded.stop().await;
        self.wait_for("the provider is away", |it| {
            it["last_error"].as_str().is_some_and(|error| error.contains("gave no token"))
        })
        .await;
        let seconds = std::env::var(OUTAGE_SECONDS).map_or(0, |seconds| seconds.parse().unwrap());
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let away = self.system.expect(200, self.request(Method::GET, &self.connector), Value::Null).await;
        assert!(away["failures"].as_i64() > Some(0) && away["credentials_refused_at"].is_null(), "{away}");
        guarded.start_again().await;
        self.wait_for_success().await;
    }

    /// The connector has a secret that the provider no longer accepts, until it gets the right one.
    async fn credentials_are_rotated_late(&self, guarded: &TokenGateway) {
        let mut late = guarded.credentials();
        late["client_secret"] = json!("canary-late");
        let patch = self.request(Method::PATCH, &self.connector);
        self.system.expect(200, patch, json!({"credentials": late})).await;
        self.wait_for("the credentials are refused", |it| it["credentials_refused_at"].is_string()).await;
        let patch = self.request(Method::PATCH, &self.connector);
        let right = json!({"credentials": guarded.credentials()});
        let changed = self.system.expect(200, patch, right).await;
        assert!(!changed.to_string().contains("canary"), "{changed}");
        self.wait_for_success().await;
        self.wait_for("the mark is gone", |it| it["credentials_refused_at"].is_null()).await;
    }

    async fn reach_the_quota(&self) {
        let connectors = format!("/catalog/spaces/{SPACE}/connectors");
        let another = json!({"name": "another", "connector_type": "dbt"});
        self.system.expect(409, self.request(Method::POST, &connectors), another).await;
    }

    /// The last admin cannot leave the space, but an operator can disable the account.
    async fn disable_the_last_admin(&self) {
        let members = format!("/spaces/{SPACE}/members");
        let listed = self.system.expect(200, self.request(Method::GET, &members), Value::Null).await;
        let member = format!("{members}/{}", listed[0]["user"]["id"].as_str().unwrap());
        self.system.expect(409, self.request(Method::DELETE, &member), Value::Null).await;
        self.settings.administer(&["user", "disable", ADMIN_EMAIL]).await;
        self.wait_until_rejected(&self.ada).await;
    }
}
