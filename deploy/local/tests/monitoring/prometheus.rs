//! A real Prometheus that scrapes the worker and the API every second, with the committed configuration.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use local::eventually;
use serde_json::Value;
use tempfile::TempDir;

use crate::system::{MonitoredSystem, free_port, get};
use crate::{file, text};

/// Returns the path of Prometheus. Debian's package also contains `promtool`.
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
    pub(crate) async fn watching(system: &MonitoredSystem) -> Self {
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
        let prometheus = Self { process, url: format!("http://{address}"), _folder: folder };
        eventually("Prometheus has scraped both targets", Duration::from_secs(60), async || {
            let result = prometheus.query("min(sum_over_time(up[1m])) > 5 and count(up) == 2").await;
            result.is_ok_and(|result| !result.as_array().unwrap().is_empty())
        })
        .await;
        prometheus
    }

    /// Returns the current result of a query.
    pub(crate) async fn query(&self, query: &str) -> Result<Value, String> {
        let url =
            url::Url::parse_with_params(&format!("{}/api/v1/query", self.url), [("query", query)]).unwrap();
        let response = get(url.as_str()).await?;
        let response: Value = serde_json::from_str(&response).map_err(|error| error.to_string())?;
        match response["status"].as_str() {
            Some("success") => Ok(response["data"]["result"].clone()),
            _ => Err(response.to_string()),
        }
    }

    /// Returns every rule with its current state.
    pub(crate) async fn rules(&self) -> Vec<Value> {
        let response: Value =
            serde_json::from_str(&get(&format!("{}/api/v1/rules", self.url)).await.unwrap()).unwrap();
        let groups = response["data"]["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
