//! An OpenID Connect provider on this machine, for signing in to the console and for connectors that use
//! OAuth 2.0: npm's `oidc-provider`, with the people and clients of `deploy/local/oidc/server.mjs`.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::node::{install_packages, npm};
use crate::process::Stop;
use crate::service::{self, Launch, LocalService};
use crate::{paths, product};

const SERVICE: &str = "oidc";
const DEFAULT_PORT: u16 = 19700;
/// The packages and the program, which are copied, so that every checkout uses the same installation.
const FILES: [&str; 3] = ["package.json", "package-lock.json", "server.mjs"];

/// An OpenID Connect provider, and the client that the console signs in with.
#[derive(Clone, Debug)]
pub struct OidcProvider {
    /// The issuer, which is also the address of its endpoints.
    pub issuer: String,
    /// The client's id.
    pub client_id: &'static str,
    /// The client's secret.
    pub client_secret: &'static str,
}

/// Makes sure that the provider runs.
pub async fn oidc_provider() -> Result<OidcProvider> {
    let service = LocalService::named(SERVICE);
    let prepare = async || {
        let folder = paths::local_folder("oidc-provider")?;
        install(&folder).await?;
        let port = service.choose_port(DEFAULT_PORT)?;
        let mut command = Command::new("node");
        command.current_dir(&folder).args(["server.mjs", &port.to_string()]);
        Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Group })
    };
    let port = service.ensure(prepare, is_healthy).await?.port;
    Ok(OidcProvider {
        issuer: format!("http://127.0.0.1:{port}"),
        client_id: "console",
        client_secret: "console-secret",
    })
}

/// Copies the program into a folder, and installs its packages if they have changed.
async fn install(folder: &std::path::Path) -> Result<()> {
    let npm = npm().await?;
    let _lock = service::lock("oidc-provider").await?;
    let lock_file = folder.join("package-lock.json");
    let before = std::fs::read(&lock_file).ok();
    for file in FILES {
        let source = paths::asset("oidc").join(file);
        std::fs::copy(&source, folder.join(file))
            .with_context(|| format!("cannot copy {}", source.display()))?;
    }
    let is_installed = folder.join("node_modules/oidc-provider").exists();
    if !is_installed || before != std::fs::read(&lock_file).ok() {
        install_packages(&npm, folder).await?;
    }
    Ok(())
}

async fn is_healthy(port: u16) -> bool {
    product::answers_ok(&format!("http://127.0.0.1:{port}/.well-known/openid-configuration")).await
}
