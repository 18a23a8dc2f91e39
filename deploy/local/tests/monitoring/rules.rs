//! Tests of the alert rules without the product: they are valid, each has a test in which it fires, and each
//! is documented.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::prometheus::promtool;
use crate::{alerts, dashboard_queries, file, text, yaml};

async fn run(arguments: &[&str]) -> String {
    let output = Command::new(promtool().await).args(arguments).current_dir(file("")).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[tokio::test]
async fn rules_are_valid_and_pass_their_tests() {
    let output = run(&["check", "rules", "alerts.yaml"]).await;
    assert!(output.contains(&format!("{} rules found", alerts().len())), "{output}");
    run(&["check", "config", "prometheus.yaml"]).await;
    run(&["test", "rules", "alerts.test.yaml"]).await;
}

#[tokio::test]
async fn dashboard_queries_are_valid_promql() {
    let queries = dashboard_queries();
    assert!(queries.len() > 20, "{queries:?}");
    let rules: Vec<Value> =
        queries.iter().map(|query| serde_json::json!({"record": "query", "expr": query})).collect();
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yaml");
    std::fs::write(&path, groups.to_string()).unwrap();
    // The linter would reject the duplicate names of the recording rules.
    run(&["check", "rules", "--lint=none", path.to_str().unwrap()]).await;
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() {
    let names: BTreeSet<String> =
        alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    let tests = yaml("alerts.test.yaml")["tests"].as_array().unwrap().clone();
    let tested = |tests: &[Value], fires: bool| -> BTreeSet<String> {
        let cases = tests.iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
        let cases = cases.filter(|case| case["exp_alerts"].as_array().unwrap().is_empty() != fires);
        cases.map(|case| case["alertname"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(tests[0]["name"], "a healthy system is silent");
    assert_eq!(tested(&tests[..1], false), names);
    assert_eq!(tested(&tests[1..], true), names);
}

#[test]
fn every_alert_is_documented_under_its_name() {
    let document = text("README.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let (_, section) = document
            .split_once(&format!("\n### {name}\n"))
            .unwrap_or_else(|| panic!("{name} is not documented"));
        let section = section.split("\n### ").next().unwrap();
        for part in ["**Means:**", "**Look at:**", "**Do:**"] {
            assert!(section.contains(part), "{name} has no {part}");
        }
        let anchor = format!("deploy/monitoring/README.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], anchor);
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("warning" | "critical")), "{name}");
    }
    assert_eq!(document.matches("\n### ").count(), alerts().len());
}
