//! Which crates a crate may depend on, read from the manifests as cargo understands them.

use std::process::Command;

use serde_json::Value;

use crate::checks::{repository, run};

/// Crate → normal dependencies that it must not have, and why.
const FORBIDDEN: [(&str, &[&str], &str); 5] = [
    ("orchestration-contract", &["tokio", "rdkafka", "reqwest", "axum"], "the contract does no I/O"),
    ("orchestration-provider", &["sqlx", "rdkafka", "axum"], "the provider depends on neither SQL nor Kafka"),
    ("orchestration-platform", &["reqwest", "axum"], "HTTP clients live in the provider"),
    ("orchestration-worker", &["reqwest", "orchestration-api"], "HTTP clients live in the provider"),
    ("orchestration-api", &["reqwest", "orchestration-worker"], "HTTP clients live in the provider"),
];

/// Every dependency that breaks a rule. `sqlx` may only be an optional dependency of the contract.
fn forbidden_dependencies(metadata: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        for dependency in
            package["dependencies"].as_array().into_iter().flatten().filter(|it| it["kind"].is_null())
        {
            let on = dependency["name"].as_str().unwrap_or_default();
            let rule = FORBIDDEN.iter().find(|(of, forbidden, _)| *of == name && forbidden.contains(&on));
            found.extend(rule.map(|(_, _, why)| format!("{name} depends on {on}: {why}")));
            if name == "orchestration-contract" && on == "sqlx" && dependency["optional"] != true {
                found.push("orchestration-contract depends on sqlx: it is optional there".to_owned());
            }
        }
    }
    found
}

#[test]
fn crates_have_no_forbidden_dependencies() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository()).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&run(&mut cargo).unwrap()).unwrap();
    let names: Vec<&str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    assert!(FORBIDDEN.iter().all(|(name, ..)| names.contains(name)), "{names:?}");
    assert_eq!(forbidden_dependencies(&metadata), [""; 0]);
}

#[test]
fn a_planted_dependency_is_found() {
    let metadata = serde_json::json!({ "packages": [{ "name": "orchestration-contract", "dependencies": [
        dependency("sqlx", Value::Null, true),
        dependency("tokio", "dev".into(), false),
        dependency("tokio", Value::Null, true),
        dependency("sqlx", Value::Null, false),
    ]}]});
    assert_eq!(forbidden_dependencies(&metadata).len(), 2);
}

fn dependency(name: &str, kind: Value, optional: bool) -> Value {
    serde_json::json!({"name": name, "kind": kind, "optional": optional})
}
