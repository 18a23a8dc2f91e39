//! Runs `console/measure.mjs`, which drives Chromium with the console's own playwright-core.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use local::AirflowServer;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::airflow::GRID;

/// Longer than every measurement together.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// The pages of the console, as paths.
#[derive(Serialize)]
pub(crate) struct ConsolePages {
    pub url: String,
    pub key: String,
    pub list: String,
    pub grid: String,
    pub run: String,
}

/// The pages of Airflow's user interface, as paths.
#[derive(Serialize)]
pub(crate) struct AirflowPages {
    url: String,
    username: String,
    password: String,
    list: String,
    grid: String,
}

impl AirflowPages {
    pub(crate) fn of(airflow: &AirflowServer) -> Self {
        Self {
            url: airflow.url.clone(),
            username: airflow.username.clone(),
            password: airflow.password.clone(),
            list: "/dags".to_owned(),
            grid: format!("/dags/{GRID}_0000"),
        }
    }
}

#[derive(Serialize)]
struct Measurement<'a> {
    console: &'a ConsolePages,
    airflow: &'a AirflowPages,
    seconds: u64,
}

/// What the browser measured. All times are milliseconds.
#[derive(Deserialize)]
pub(crate) struct Measured {
    pub pages: Vec<MeasuredPage>,
    /// The share of the time that the main thread was busy while events arrived, by page.
    pub busy: Vec<BusyPage>,
}

/// One page of the console, and Airflow's, where it has one.
#[derive(Deserialize)]
pub(crate) struct MeasuredPage {
    pub name: String,
    pub console: PageTimes,
    pub airflow: Option<PageTimes>,
}

#[derive(Deserialize)]
pub(crate) struct PageTimes {
    /// From the navigation to the first row or cell on the screen: the median.
    pub first_picture: f64,
    pub nodes: u64,
    /// Without the elements that only hold text.
    pub nodes_beside_text: u64,
    pub hover_p95: f64,
    pub click_p95: f64,
}

#[derive(Deserialize)]
pub(crate) struct BusyPage {
    pub name: String,
    pub percent: f64,
    /// How many events arrived in the page while it was measured.
    pub events: u64,
}

pub(crate) async fn measure(
    sources: &Path,
    console: &ConsolePages,
    airflow: &AirflowPages,
    time: Duration,
) -> anyhow::Result<Measured> {
    let chromium = local::program("chromium").await?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("console/measure.mjs");
    let mut browser = Command::new("node")
        .arg(script)
        .env("CONSOLE_SOURCES", sources)
        .env("CHROMIUM", chromium)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("node cannot be started")?;
    let input = serde_json::to_vec(&Measurement { console, airflow, seconds: time.as_secs() })?;
    // The password and the key go by the standard input, which no list of processes shows.
    let mut stdin = browser.stdin.take().context("the browser has no standard input")?;
    stdin.write_all(&input).await?;
    drop(stdin);
    let output = tokio::time::timeout(TIMEOUT, browser.wait_with_output()).await??;
    ensure!(output.status.success(), "the browser failed: see above");
    Ok(serde_json::from_slice(&output.stdout)?)
}
