//! The alert rules by themselves: right in form, each seen to fire and to be silent, each explained.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::prometheus::promtool;
use crate::{alerts, dashboard_queries, file, text, yaml};

async fn run(arguments: &[&str]) -> String {
    let output = Command::new(promtool().await).args(arguments).current_dir(file("")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
async fn the_rules_are_well_formed_and_pass_their_tests() {
    let said = run(&["check", "rules", "alerts.yaml"]).await;
    assert!(said.contains(&format!("{} rules found", alerts().len())), "{said}");
    run(&["check", "config", "prometheus.yaml"]).await;
    run(&["test", "rules", "alerts.test.yaml"]).await;
}

#[tokio::test]
async fn the_dashboard_asks_in_the_language_of_prometheus() {
    let queries = dashboard_queries();
    assert!(queries.len() > 20, "{queries:?}");
    let rules: Vec<Value> =
        queries.iter().map(|query| serde_json::json!({"record": "asked", "expr": query})).collect();
    let asked = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dashboard.yaml");
    std::fs::write(&path, asked.to_string()).unwrap();
    // One name for all of them is no fault here.
    run(&["check", "rules", "--lint=none", path.to_str().unwrap()]).await;
}

#[test]
fn every_alert_fires_in_a_test_and_is_silent_in_the_healthy_one() {
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
fn every_alert_is_explained_under_its_name() {
    let explained = text("README.md");
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let (_, chapter) = explained
            .split_once(&format!("\n### {name}\n"))
            .unwrap_or_else(|| panic!("{name} is not explained"));
        let chapter = chapter.split("\n### ").next().unwrap();
        for part in ["**Means:**", "**Look at:**", "**Do:**"] {
            assert!(chapter.contains(part), "{name} has no {part}");
        }
        let place = format!("deploy/monitoring/README.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], place);
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("warning" | "critical")), "{name}");
    }
    assert_eq!(explained.matches("\n### ").count(), alerts().len());
}
