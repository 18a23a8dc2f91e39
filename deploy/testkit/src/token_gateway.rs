//! A real identity provider (npm's `oidc-provider`), and a gateway in front of another server that accepts
//! only its tokens.

use std::io::{BufRead, BufReader};
use std::path::Path;
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
    /// The gateway accepts requests without a token.
    pub is_open: bool,
    /// The status with which the gateway refuses requests; 401 by default.
    pub refusal: Option<u16>,
    /// Serves TLS with this certificate.
    pub certificates: Option<Certificates>,
    /// Provider and gateway demand a certificate of this client, which its authority has signed; the client
    /// authenticates with it, and its tokens are bound to it (RFC 8705).
    pub client_certificate: Option<Certificates>,
    /// Further registered clients.
    pub clients: Vec<Value>,
}

/// The running provider, killed when it is dropped.
pub struct TokenGateway {
    process: Child,
    settings: TokenGatewaySettings,
    /// The URL of the provider, with a host name.
    pub issuer: String,
    /// The URL of the gateway.
    pub gateway: String,
    /// The key file of a service account, in the form in which Google issues them.
    pub service_account_key: Value,
}

impl TokenGateway {
    /// Installs the provider if it is missing, and starts it.
    pub async fn start(settings: TokenGatewaySettings) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/oidc-provider");
        local::node_packages(folder.as_ref()).await.unwrap();
        let (process, mut started) = spawn(&settings);
        let text = |name: &str| started[name].as_str().unwrap().to_owned();
        let (issuer, gateway) = (text("issuer"), text("gateway"));
        Self { process, settings, issuer, gateway, service_account_key: started["key"].take() }
    }

    /// The credentials of a connector, as the API reads them.
    pub fn credentials(&self) -> Value {
        let mut credentials = json!({
            "auth_type": "oauth2", "token_url": format!("{}/token", self.issuer), "client_id": GATEWAY_CLIENT,
            "scope": "airflow",
        });
        if let Some(files) = &self.settings.client_certificate {
            credentials["client_certificate"] = read(&files.certificate).into();
            credentials["client_key"] = read(&files.key).into();
        } else {
            credentials["client_secret"] = GATEWAY_SECRET.into();
        }
        credentials
    }

    /// The credentials of a service account, as the API reads them.
    pub fn service_account(&self) -> Value {
        json!({"auth_type": "service_account", "key": self.service_account_key, "scope": "airflow"})
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
        let mut client = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
        if let Some(files) = &self.settings.client_certificate {
            let pem = read(&files.certificate) + &read(&files.key);
            client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
        }
        let request = client.build().unwrap().get(format!("{}/{path}", self.gateway));
        let response = request.send().await.unwrap();
        response.text().await.unwrap()
    }
}

impl Drop for TokenGateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

fn spawn(settings: &TokenGatewaySettings) -> (Child, Value) {
    let mut client = json!({
        "client_id": GATEWAY_CLIENT, "scope": "airflow",
        "grant_types": ["client_credentials"], "redirect_uris": [], "response_types": [],
    });
    if settings.client_certificate.is_some() {
        client["token_endpoint_auth_method"] = "tls_client_auth".into();
        client["tls_client_auth_subject_dn"] = format!("CN={GATEWAY_CLIENT}").into();
        client["tls_client_certificate_bound_access_tokens"] = true.into();
    } else {
        client["token_endpoint_auth_method"] =
            settings.authentication.unwrap_or("client_secret_basic").into();
        client["client_secret"] = GATEWAY_SECRET.into();
    }
    let mut clients = settings.clients.clone();
    clients.push(client);
    let certificates = settings.certificates.as_ref();
    let arguments = json!({
        "clients": clients, "client": GATEWAY_CLIENT, "upstream": settings.upstream,
        "token_lifetime": settings.token_lifetime, "refusal": settings.refusal, "is_open": settings.is_open,
        "key": certificates.map(|files| &files.key),
        "certificate": certificates.map(|files| &files.certificate),
        "client_authority": settings.client_certificate.as_ref().map(|files| &files.authority),
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
