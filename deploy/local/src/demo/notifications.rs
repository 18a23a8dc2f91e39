//! Notifications of the demo: an e-mail and a webhook for each incident, and a run that takes longer than
//! usual.

use std::time::Duration;

use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::{DemoApi, SPACE, text};
use crate::airflow::{AirflowServer, SeedRuns, seed_runs};
use crate::env_file::{self, DemoSettings};
use crate::progress::note;
use crate::receiver::Receiver;
use crate::status::Component;

/// The example DAG whose runs take as long as an event of its asset says.
const DAG: &str = "order_export";
const TASK: &str = "export";
const ASSET: &str = "orders";
const USUAL_SECONDS: u32 = 5;
/// A run is slow a minute after its usual duration, and is reported 30 seconds later.
const SLOW_SECONDS: u32 = 150;
const SEEDED_RUNS: u32 = 48;
const EMAIL_TO: &str = "on-call@demo.example";

/// Sets the worker's mail server, and the address of the console for the links in messages. A running worker
/// with other settings is stopped.
pub(super) async fn set_mail_server(
    settings: &mut DemoSettings,
    api: &DemoApi,
    receiver: &Receiver,
) -> Result<()> {
    let before = settings.clone();
    let smtp_port = receiver.smtp_port.to_string();
    let changed = [
        ("ORCHESTRATION_URL", api.url.as_str()),
        ("ORCHESTRATION_SMTP_HOST", "127.0.0.1"),
        ("ORCHESTRATION_SMTP_PORT", &smtp_port),
        ("ORCHESTRATION_SMTP_TLS", "none"),
        ("ORCHESTRATION_SMTP_FROM", "Orchestration <orchestration@demo.example>"),
    ];
    settings.extend(changed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if *settings != before {
        Component::Worker.service().stop().await?;
    }
    env_file::write(settings)
}

/// Creates a channel of each receiver with a rule that holds for every incident, unless they exist.
pub(super) async fn ensure_channels(
    settings: &DemoSettings,
    api: &DemoApi,
    receiver: &Receiver,
) -> Result<()> {
    let key = &settings["ORCHESTRATION_ADMIN_KEY"];
    for channel in [
        json!({"type": "webhook", "name": "demo webhook", "config": {"url": receiver.url}}),
        json!({"type": "email", "name": "demo e-mail", "config": {"to": [EMAIL_TO]}}),
    ] {
        ensure_channel(api, key, &channel).await?;
    }
    Ok(())
}

async fn ensure_channel(api: &DemoApi, key: &str, desired: &Value) -> Result<()> {
    let base = format!("spaces/{SPACE}/orchestration/notifications");
    let channels = format!("{base}/channels");
    let found = api.find(&channels, key, "name", &text(desired, "name")?).await?;
    let channel = match &found {
        None => api.request(Method::POST, &channels, key, Some(desired)).await?,
        Some(found) => {
            let change = json!({"config": desired["config"], "is_active": true});
            let path = format!("{channels}/{}", text(found, "id")?);
            api.request(Method::PATCH, &path, key, Some(&change)).await?
        }
    };
    let (rules, id) = (format!("{base}/rules"), text(&channel, "id")?);
    if api.find(&rules, key, "channel_id", &id).await?.is_none() {
        api.request(Method::POST, &rules, key, Some(&json!({ "channel_id": id }))).await?;
    }
    Ok(())
}

/// Starts a run that is slow. One that takes as long as usual comes first: it ends the incident of an earlier
/// demo.
pub(super) async fn start_slow_run(airflow: &AirflowServer) -> Result<()> {
    airflow
        .wait_for_dag(DAG, Duration::from_secs(120))
        .await
        .context("Airflow gets new example DAGs when it starts: `cargo local down airflow`, and again")?;
    if airflow.get(&format!("dags/{DAG}/dagRuns?limit=1")).await?["total_entries"] == 0 {
        seed_runs(airflow, &usual_runs()).await?;
    }
    airflow.unpause(DAG).await?;
    for seconds in [USUAL_SECONDS, SLOW_SECONDS] {
        airflow.trigger_by_asset(ASSET, DAG, &json!({ "seconds": seconds })).await?;
    }
    note(&format!("a run of {DAG} takes {SLOW_SECONDS} s instead of {USUAL_SECONDS} s"));
    Ok(())
}

fn usual_runs() -> SeedRuns {
    SeedRuns {
        dag_id: DAG.to_owned(),
        task_id: TASK.to_owned(),
        scheduled: false,
        newest: Utc::now() - TimeDelta::hours(1),
        runs: SEEDED_RUNS,
        seconds: USUAL_SECONDS,
    }
}

/// The last lines of the demo, which say where the messages arrive.
pub(super) fn summary(receiver: &Receiver) -> String {
    format!(
        "
Within three minutes the slow run of `{DAG}` is reported by e-mail ({EMAIL_TO}) and to a webhook:
  {url}   (what has arrived)
  cargo local logs receiver -f   (what arrives)",
        url = receiver.url
    )
}
