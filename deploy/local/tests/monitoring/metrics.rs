//! Tests of the metrics: each has a help text, names follow Prometheus' conventions, label values are
//! bounded, and every metric that the rules and the dashboard query exists.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use local::eventually;
use reqwest::Method;

use crate::prometheus::Prometheus;
use crate::system::{EMAIL, MonitoredSystem, SPACE, get};
use crate::{alerts, dashboard_queries};

/// All labels. Each has few values, except the ids of connectors.
const LABELS: [&str; 17] = [
    "binary",
    "code",
    "connector_id",
    "group",
    "kind",
    "le",
    "method",
    "origin",
    "outcome",
    "part",
    "reason",
    "route",
    "status",
    "topic",
    "type",
    "version",
    "what",
];
/// Permitted suffixes of metric names: base units and counted items.
const ENDINGS: [&str; 11] = [
    "_seconds",
    "_bytes",
    "_total",
    "_info",
    "_records",
    "_failures",
    "_fds",
    "_threads",
    "_connections",
    "_idle",
    "_max",
];
/// Gauges of counts, which have no unit suffix.
const COUNTS: [&str; 5] = [
    "orchestration_syncs_waiting",
    "orchestration_syncs_running",
    "orchestration_dead_letters_open",
    "orchestration_incidents_unresolved",
    "orchestration_notifications_pending",
];

/// A program, a metric's name and its type per line.
const METRICS: &str = include_str!("../it/configuration/metrics.txt");

/// A metric family: type, help text, and the value of every label set.
#[derive(Default, Debug)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<(BTreeMap<String, String>, f64)>,
}

fn families(text: &str) -> BTreeMap<String, Family> {
    let mut families = BTreeMap::<String, Family>::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) {
            families.entry(name.to_owned()).or_default().help = help.to_owned();
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').unwrap().split("\",").filter(|label| !label.is_empty());
            let labels = labels.map(|label| label.trim_end_matches('"').split_once("=\"").unwrap());
            let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned())).collect();
            let family = base(name);
            let family = if families.contains_key(family) { family } else { name };
            let samples = &mut families.entry(family.to_owned()).or_default().samples;
            samples.push((labels, value.parse().unwrap()));
        }
    }
    families
}

/// Returns the name of a histogram from the name of one of its series.
fn base(name: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// Returns our metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("orchestration_") || word.starts_with("process_"));
    ours.map(|word| base(word).to_owned()).collect()
}

fn assert_conventional(name: &str, family: &Family) {
    assert!(!family.help.is_empty(), "{name} has no HELP");
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    assert!(name.chars().all(plain), "{name}");
    assert!(name.starts_with("orchestration_") || name.starts_with("process_"), "{name}");
    assert!(ENDINGS.iter().any(|end| name.ends_with(end)) || COUNTS.contains(&name), "{name} has no unit");
    match family.kind.as_str() {
        "counter" => assert!(name.ends_with("_total"), "{name} is a counter"),
        "gauge" => assert!(!name.ends_with("_total"), "{name} is a gauge"),
        "histogram" => assert!(name.ends_with("_seconds"), "{name} is a histogram"),
        other => panic!("{name} is a {other}"),
    }
    for (labels, _) in &family.samples {
        for (label, value) in labels {
            assert!(LABELS.contains(&label.as_str()), "{name} has the label {label}");
            let is_id = value.len() == 36 && value.bytes().filter(|byte| *byte == b'-').count() == 4;
            assert_eq!(is_id, label == "connector_id", "{name}: {label}={value}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_a_healthy_system_are_conventional_queryable_and_fire_no_alert() {
    let system = MonitoredSystem::start().await;
    system.sync(None).await;
    let connector = format!("/api/v1.0/catalog/spaces/{SPACE}/connectors/{}", system.connector);
    let every_second = serde_json::json!({"config": {"schedule": "* * * * * *"}});
    system.request(Method::PATCH, &connector, None, Some(every_second)).await;
    // Unknown paths, whose segments must not become label values.
    for path in ["/api/nowhere/secret-path", &format!("{connector}/{}", uuid::Uuid::new_v4())] {
        assert!(get(&format!("http://{}{path}", system.api_address)).await.is_err());
    }
    let prometheus = Prometheus::watching(&system).await;

    let families = all_families(&system).await;
    for (_, name, family) in &families {
        assert_conventional(name, family);
    }
    assert_metrics_of_earlier_versions_exist(&families);
    assert_metrics_exist(&families);
    assert_dashboard_has_data(&prometheus).await;
    assert_no_alert_fires(&prometheus).await;
    assert_series_end_with_their_connector(&system, &connector).await;
}

/// Returns the metrics by program and name. They must not contain names of users or secrets.
async fn all_families(system: &MonitoredSystem) -> Vec<(&'static str, String, Family)> {
    let mut all = Vec::new();
    for (program, address) in [("worker", &system.worker_address), ("api", &system.api_address)] {
        let text = system.metrics(address).await;
        for secret in [SPACE, EMAIL, "monitored", "secret-path", system.key.as_str()] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        all.extend(families(&text).into_iter().map(|(name, family)| (program, name, family)));
    }
    all
}

/// Compares the metrics and their types with the list, which earlier versions exported.
fn assert_metrics_of_earlier_versions_exist(families: &[(&str, String, Family)]) {
    let exported: BTreeSet<String> =
        families.iter().map(|(program, name, family)| format!("{program} {name} {}", family.kind)).collect();
    let missing: Vec<&str> = METRICS.lines().filter(|line| !exported.contains(*line)).collect();
    assert!(missing.is_empty(), "{missing:?} of {exported:?}");
}

fn assert_metrics_exist(families: &[(&str, String, Family)]) {
    let alerts = alerts().into_iter().map(|alert| alert["expr"].as_str().unwrap().to_owned());
    for expression in alerts.chain(dashboard_queries()) {
        let names = named(&expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            let exists = families.iter().any(|(_, existing, _)| *existing == name);
            assert!(exists, "no program exports {name}, which is queried by {expression}");
        }
    }
}

/// Every query has data, except the list of failing connectors.
async fn assert_dashboard_has_data(prometheus: &Prometheus) {
    let mut empty = BTreeSet::new();
    for query in dashboard_queries() {
        let result = prometheus.query(&query).await.unwrap();
        if result.as_array().unwrap().is_empty() {
            empty.insert(query);
        }
    }
    let failing = "topk(20, max by (connector_id) (orchestration_connector_consecutive_failures) > 0)";
    assert_eq!(empty, BTreeSet::from([failing.to_owned()]));
}

/// A worker that has just started has not evaluated signals yet, so that an alert may be pending at first.
async fn assert_no_alert_fires(prometheus: &Prometheus) {
    let is_quiet = async || {
        let rules = prometheus.rules().await;
        rules.iter().all(|rule| rule["state"] == "inactive" && rule["health"] == "ok")
    };
    eventually("no alert is pending or firing", Duration::from_secs(120), is_quiet).await;
    assert_eq!(prometheus.rules().await.len(), alerts().len());
}

/// The series of a deleted connector end, and those of the worker itself remain.
async fn assert_series_end_with_their_connector(system: &MonitoredSystem, connector: &str) {
    let exported = async || system.metrics(&system.worker_address).await.contains(&system.connector);
    assert!(exported().await);
    system.request(Method::DELETE, connector, None, None).await;
    eventually("the connector's series have ended", Duration::from_secs(120), async || !exported().await)
        .await;
    let of_worker = families(&system.metrics(&system.worker_address).await);
    for name in
        ["orchestration_build_info", "orchestration_syncs_waiting", "orchestration_projector_lag_records"]
    {
        assert!(of_worker.contains_key(name), "{name}");
    }
}
