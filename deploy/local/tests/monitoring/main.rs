//! Tests of monitoring on the real worker and API: metrics, logs, and the alert rules and the dashboard in
//! `deploy/monitoring/`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod logs;
mod metrics;
mod prometheus;
mod rules;
mod system;

use std::path::PathBuf;

use serde_json::Value;

/// Returns the path of a file in `deploy/monitoring/`.
fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../monitoring").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_yaml_ng::from_str(&text(name)).unwrap()
}

/// Returns every alert rule: an object with `alert`, `expr` and `annotations`.
fn alerts() -> Vec<Value> {
    let groups = yaml("alerts.yaml")["groups"].as_array().unwrap().clone();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Returns every query of the dashboard, with a rate interval of one minute.
fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().clone();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array().cloned()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().replace("$__rate_interval", "1m")).collect()
}
