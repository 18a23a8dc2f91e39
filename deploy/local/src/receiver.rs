//! The demo's receivers of notifications: an SMTP server and a webhook, which print and list what arrives.
//! The program is `deploy/local/receiver/server.py`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process::Stop;
use crate::service::{Launch, LocalService};
use crate::{paths, ports, product, python};

const SERVICE: &str = "receiver";
const DEFAULT_PORT: u16 = 19620;
const DEFAULT_SMTP_PORT: u16 = 19640;
const PYTHONS: [&str; 3] = ["3.12", "3.13", "3.11"];

/// The running receivers.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// The address of the webhook. A GET request returns the latest messages.
    pub url: String,
    /// The port of the SMTP server, which has no encryption and no users.
    pub smtp_port: u16,
}

/// Makes sure that the receivers run.
pub async fn receiver() -> Result<Receiver> {
    let service = LocalService::named(SERVICE);
    let prepare = async || {
        let environment = receiver_environment().await?;
        let port = service.choose_port(DEFAULT_PORT)?;
        let smtp_port = ports::choose("receiver-smtp", None, DEFAULT_SMTP_PORT)?;
        let mut command = Command::new(environment.join("bin/python"));
        command.current_dir(paths::local_folder(SERVICE)?).arg(paths::asset("receiver/server.py"));
        command.args([port, smtp_port].map(|port| port.to_string()));
        Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Group })
    };
    let port = service.ensure(prepare, is_healthy).await?.port;
    let url = format!("http://127.0.0.1:{port}/");
    let smtp_port = listed(&url).await?["smtp_port"].as_u64().and_then(|port| u16::try_from(port).ok());
    Ok(Receiver { smtp_port: smtp_port.with_context(|| format!("{url} names no SMTP port"))?, url })
}

/// Installs the packages of the SMTP server, and returns the folder of their virtual environment.
pub async fn receiver_environment() -> Result<PathBuf> {
    python::environment("smtp-server", &PYTHONS, &paths::asset("receiver/requirements.txt")).await
}

/// Returns whether the webhook of this port answers. The SMTP server was started before it.
pub(crate) async fn is_healthy(port: u16) -> bool {
    product::answers_ok(&format!("http://127.0.0.1:{port}/")).await
}

async fn listed(url: &str) -> Result<Value> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let text = client.get(url).send().await?.text().await?;
    serde_json::from_str(&text).with_context(|| format!("{url} returns no JSON"))
}
