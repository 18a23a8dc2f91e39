//! Builds the web console, which the API embeds.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;

use crate::node::{node_packages, npm, run_npm};
use crate::product::{modified, newest_change};
use crate::{paths, service};

/// Builds the console if its sources have changed since. Returns the folder of its sources.
pub async fn console() -> Result<PathBuf> {
    let folder = paths::workspace().join("api/console");
    node_packages(&folder).await?;
    let _lock = service::lock("console").await?;
    let sources = ["src", "public", "index.html", "package-lock.json", "vite.config.ts", "../openapi.json"];
    let changed = newest_change(&sources.map(|source| folder.join(source)));
    let built = modified(&folder.join("dist/index.html")).unwrap_or(SystemTime::UNIX_EPOCH);
    if built <= changed {
        run_npm(&npm().await?, &folder, &["run", "build"]).await?;
    }
    Ok(folder)
}
