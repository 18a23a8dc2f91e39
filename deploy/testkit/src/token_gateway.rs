//! A real identity provider (npm's `oidc-provider`), and a gateway in front of another server that accepts
//! only its tokens.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use local::Certificates;
use serde_json::{Value, json};

/// The id of the client that is registered for client credentials; its secret is [`GATEWAY_SECRET`].
pub const GATEWAY_CLIENT: &str = "orchestration worker";
pub const GATEWAY_SECRET: &str = "canary-client-secret+%";

/// How the provider is started.
#[derive(Clone, Default)]
pub struct TokenGatewaySettings {
    /// The server behind the gateway.
    pub upstream: String,
    /// How long access tokens are valid, in seconds; ten minutes by default.
    pub token_lifetime: Option<u32>,
    /// `client_secret_basic` by default.
    pub authentication: Option<&'static str>,
    /// The status with which the gateway refuses requests; 401 by default.
    pub refusal: Option<u16>,
    /// Serves TLS with this certificate.
    pub certificates: Option<Certificates>,
    /// Further registered clients.
    pub clients: Vec<Value>,
}

/// The running provider, killed when it is dropped.
pub struct TokenGateway {
    process: Child,
    /// The URL of the provider, with a host name.
    pub issuer: String,
    /// The URL of the gateway.
    pub gateway: String,
}

impl TokenGateway {
    /// Installs the provider if it is missing, and starts it.
    pub async fn start(settings: TokenGatewaySettings) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/oidc-provider");
        local::node_packages(folder.as_ref()).await.unwrap();
        let (process, addresses) = spawn(&settings);
        let text = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Self { process, issuer: text("issuer"), gateway: text("gateway") }
    }

    /// The credentials of a connector, as the API reads them.
    pub fn credentials(&self) -> Value {
        json!({
            "auth_type": "oauth2", "token_url": format!("{}/token", self.issuer), "client_id": GATEWAY_CLIENT,
            "client_secret": GATEWAY_SECRET, "scope": "airflow",
        })
    }

    /// The number of tokens that were issued.
    pub async fn issued(&self) -> u32 {
        self.ask("issued").await.parse().unwrap()
    }

    /// Revokes all tokens that the gateway has seen.
    pub async fn revoke_tokens(&self) {
        self.ask("revoke").await;
    }

    /// Closes the provider, but not the gateway.
    pub async fn stop(&self) {
        self.ask("stop").await;
    }

    /// Opens the provider again, at the same address.
    pub async fn start_again(&self) {
        self.ask("start").await;
    }

    async fn ask(&self, path: &str) -> String {
        let client = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        let response = client.get(format!("{}/{path}", self.gateway)).send().await.unwrap();
        response.text().await.unwrap()
    }
}

impl Drop for TokenGateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(settings: &TokenGatewaySettings) -> (Child, Value) {
    let authentication = settings.authentication.unwrap_or("client_secret_basic");
    let mut clients = settings.clients.clone();
    clients.push(json!({
        "client_id": GATEWAY_CLIENT, "client_secret": GATEWAY_SECRET, "scope": "airflow",
        "token_endpoint_auth_method": authentication,
        "grant_types": ["client_credentials"], "redirect_uris": [], "response_types": [],
    }));
    let certificates = settings.certificates.as_ref();
    let arguments = json!({
        "clients": clients, "upstream": settings.upstream, "token_lifetime": settings.token_lifetime,
        "refusal": settings.refusal, "key": certificates.map(|files| &files.key),
        "certificate": certificates.map(|files| &files.certificate),
    });
    let mut command = Command::new("node");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/oidc-provider"));
    command.arg("server.mjs").arg(arguments.to_string()).stdout(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let line = lines.find(|line| line.starts_with('{')).expect("the provider says where it listens");
    // The pipe is read to its end, since a full one would block the process.
    std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
    (process, serde_json::from_str(&line).unwrap())
}
