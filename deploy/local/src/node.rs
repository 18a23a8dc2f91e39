//! Node and npm, which the console and the OpenID Connect provider need.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::product::modified;
use crate::{service, tools};

/// The oldest release of Node that works.
const OLDEST_NODE: (u32, u32) = (20, 19);

/// Returns npm, after installing the system's package if it is missing, and checks the release of Node.
pub(crate) async fn npm() -> Result<PathBuf> {
    let npm = tools::program("npm").await?;
    let mut node = Command::new("node");
    node.arg("--version");
    let version = tools::run(node).await.context("Node is needed")?;
    if release(&version).is_none_or(|release| release < OLDEST_NODE) {
        let (major, minor) = OLDEST_NODE;
        bail!("Node {major}.{minor} or later is needed, and this is {}: install one", version.trim());
    }
    Ok(npm)
}

/// Runs npm in a folder.
pub(crate) async fn run_npm(npm: &Path, folder: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(npm);
    command.current_dir(folder).args(arguments).env("CI", "true");
    tools::run(command).await.map(drop)
}

/// Installs the packages of a folder, if its lock file has changed since.
pub async fn node_packages(folder: &Path) -> Result<()> {
    let npm = npm().await?;
    let _lock = service::lock("node-packages").await?;
    let installed = modified(&folder.join("node_modules/.package-lock.json"));
    if installed.is_none_or(|at| modified(&folder.join("package-lock.json")).is_some_and(|lock| lock > at)) {
        install_packages(&npm, folder).await?;
    }
    Ok(())
}

/// Installs the packages of a folder's lock file.
pub(crate) async fn install_packages(npm: &Path, folder: &Path) -> Result<()> {
    run_npm(npm, folder, &["ci", "--no-audit", "--no-fund"]).await
}

/// Returns the first two numbers of a version such as `v20.19.1`.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_node_compare_as_numbers() {
        assert_eq!(release("v20.19.1\n"), Some((20, 19)));
        assert!(release("v9.99.0").unwrap() < OLDEST_NODE);
        assert!(release("v22.2.0").unwrap() > OLDEST_NODE);
        assert_eq!(release("?"), None);
    }
}
