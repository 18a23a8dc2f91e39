//! A real Prometheus that scrapes the product by the committed configuration, every second.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::system::{System, ask, free_port, until};
use crate::{file, text};

/// Debian's package brings both.
async fn program() -> PathBuf {
    local::program("prometheus").await.unwrap()
}

pub(crate) async fn promtool() -> PathBuf {
    program().await.with_file_name("promtool")
}

pub(crate) struct Prometheus {
    process: Child,
    url: String,
    _folder: TempDir,
}

impl Prometheus {
    pub(crate) async fn watching(system: &System) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = text("prometheus.yaml")
            .replace("127.0.0.1:9464", &system.worker_address)
            .replace("127.0.0.1:8080", &system.api_address)
            .replace("15s", "1s");
        let config_path = folder.path().join("prometheus.yaml");
        std::fs::write(&config_path, config).unwrap();
        std::fs::copy(file("alerts.yaml"), folder.path().join("alerts.yaml")).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let process = Command::new(program().await)
            .arg(format!("--config.file={}", config_path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let watching = Self { process, url: format!("http://{address}"), _folder: folder };
        until("Prometheus has seen both for some seconds", Duration::from_secs(60), async || {
            let seen = watching.query("min(sum_over_time(up[1m])) > 5 and count(up) == 2").await;
            seen.is_ok_and(|seen| !seen.as_array().unwrap().is_empty())
        })
        .await;
        watching
    }

    /// What a query finds now.
    pub(crate) async fn query(&self, query: &str) -> Result<Value, String> {
        let url =
            url::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)]).unwrap();
        let answer = ask(url.as_str()).await?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].clone()),
            _ => Err(answer.to_string()),
        }
    }

    /// Every rule as it stands.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let answer: Value =
            serde_json::from_str(&ask(&format!("{}/api/v1/rules", self.url)).await.unwrap()).unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
