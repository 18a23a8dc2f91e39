//! The numbers: what each means is said, names keep Prometheus' conventions, labels stay few, and what rules and
//! dashboard ask for is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;

use crate::prometheus::Prometheus;
use crate::system::{EMAIL, SPACE, System, ask, until};
use crate::{alerts, dashboard_queries};

/// Every label there is, but for connectors' ids each with few values.
const LABELS: [&str; 14] = [
    "binary",
    "code",
    "connector_id",
    "group",
    "kind",
    "le",
    "method",
    "outcome",
    "reason",
    "route",
    "status",
    "topic",
    "version",
    "what",
];
/// Base units and what is counted: how a name may end.
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
/// Gauges that count things whose name says what they are.
const COUNTS: [&str; 3] =
    ["orchestration_syncs_waiting", "orchestration_syncs_running", "orchestration_dead_letters_open"];

/// A metric as it is told: its kind, its help, and every label set with its value.
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

/// A histogram's name from that of one of its series.
fn base(name: &str) -> &str {
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// The metrics that an expression names, but for those that Prometheus makes itself.
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
    assert!(ENDINGS.iter().any(|end| name.ends_with(end)) || COUNTS.contains(&name), "{name} names no unit");
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
async fn what_is_measured_is_explained_bounded_asked_for_and_silent_while_all_is_well() {
    let system = System::start().await;
    system.sync(None).await;
    let connector = format!("/api/v1.0/catalog/spaces/{SPACE}/connectors/{}", system.connector);
    let each_second = serde_json::json!({"config": {"schedule": "* * * * * *"}});
    system.request(Method::PATCH, &connector, None, Some(each_second)).await;
    // Paths that are nobody's, with things in them that no label may hold.
    for path in ["/nowhere/secret-path", &format!("{connector}/{}", uuid::Uuid::new_v4())] {
        assert!(ask(&format!("http://{}{path}", system.api_address)).await.is_err());
    }
    let prometheus = Prometheus::watching(&system).await;

    let (worker, api) =
        (system.metrics(&system.worker_address).await, system.metrics(&system.api_address).await);
    let (of_worker, of_api) = (families(&worker), families(&api));
    for (name, family) in of_worker.iter().chain(&of_api) {
        assert_conventional(name, family);
    }
    for text in [&worker, &api] {
        for secret in [SPACE, EMAIL, "monitored", "secret-path", system.key.as_str()] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }

    let asked: Vec<String> =
        alerts().iter().map(|alert| alert["expr"].as_str().unwrap().to_owned()).collect();
    let queries = dashboard_queries();
    for expression in asked.iter().chain(&queries) {
        let names = named(expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(
                of_worker.contains_key(&name) || of_api.contains_key(&name),
                "nobody tells {name}, asked by {expression}"
            );
        }
    }
    let mut unanswered = BTreeSet::new();
    for query in &queries {
        let found = prometheus.query(query).await.unwrap();
        if found.as_array().unwrap().is_empty() {
            unanswered.insert(query.as_str());
        }
    }
    // Nothing fails here.
    assert_eq!(
        unanswered,
        BTreeSet::from([
            "topk(20, max by (connector_id) (orchestration_connector_consecutive_failures) > 0)"
        ])
    );
    for rule in prometheus.rules().await {
        assert_eq!(
            (rule["state"].as_str(), rule["health"].as_str()),
            (Some("inactive"), Some("ok")),
            "{rule}"
        );
    }
    assert_eq!(prometheus.rules().await.len(), alerts().len());

    goes_with_its_connector(&system, &connector).await;
}

/// Series of a connector that is gone end.
async fn goes_with_its_connector(system: &System, connector: &str) {
    let told = async || system.metrics(&system.worker_address).await.contains(&system.connector);
    assert!(told().await);
    system.request(Method::DELETE, connector, None, None).await;
    until("the connector's series have ended", Duration::from_secs(120), async || !told().await).await;
    // Those of the worker itself have not.
    let of_worker = families(&system.metrics(&system.worker_address).await);
    for name in
        ["orchestration_build_info", "orchestration_syncs_waiting", "orchestration_projector_lag_records"]
    {
        assert!(of_worker.contains_key(name), "{name}");
    }
}
