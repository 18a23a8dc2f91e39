//! Tests of `compose.yaml`, which Docker Compose itself reads and resolves. No container is started, because
//! that needs a container engine.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};

use crate::checks::{checker, repository, run, text};

async fn compose(env_file: &str, arguments: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("compose.env");
    std::fs::write(&secrets, env_file).unwrap();
    let mut command = Command::new(checker("docker-compose").await);
    command.current_dir(repository()).env_remove("DATABASE_URL");
    command.env("ORCHESTRATION_ENV_FILE", &secrets).arg("--env-file").arg(&secrets);
    run(command.args(["-f", "deploy/compose.yaml", "--profile", "*"]).args(arguments))
}

async fn resolved() -> Value {
    let secrets = "POSTGRES_PASSWORD=secret\nORCHESTRATION_SEALING_KEYS=keys\nORCHESTRATION_PORT=9000\n";
    let output = compose(secrets, &["config", "--format", "json"]).await;
    serde_json::from_str(&output.unwrap_or_else(|error| panic!("{error}"))).unwrap()
}

#[tokio::test]
async fn compose_without_secrets_fails_and_names_the_document() {
    let error = compose("POSTGRES_PASSWORD=secret\n", &["config", "--quiet"]).await.unwrap_err();
    assert!(error.contains("ORCHESTRATION_SEALING_KEYS") && error.contains("deploy/README.md"), "{error}");
}

#[tokio::test]
async fn compose_services_have_health_checks_and_wait_for_their_dependencies() {
    let resolved = resolved().await;
    let services = resolved["services"].as_object().unwrap();
    let names: Vec<&String> = services.keys().collect();
    assert_eq!(names, ["airflow", "api", "kafka", "migrate", "postgres", "worker"]);
    for (name, service) in services.iter().filter(|(name, _)| *name != "migrate") {
        assert!(service["healthcheck"]["test"].is_array(), "{name}");
    }
    assert_eq!(services["migrate"]["depends_on"]["postgres"]["condition"], "service_healthy");
    for ours in ["api", "worker"] {
        let dependencies = &services[ours]["depends_on"];
        assert_eq!(dependencies["migrate"]["condition"], "service_completed_successfully");
        assert_eq!(dependencies["kafka"]["condition"], "service_healthy");
        assert_eq!(
            services[ours]["environment"]["DATABASE_URL"],
            "postgres://orchestration:secret@postgres:5432/orchestration"
        );
    }
}

#[tokio::test]
async fn compose_services_are_unprivileged_durable_and_bound_to_loopback() {
    let resolved = resolved().await;
    let services = resolved["services"].as_object().unwrap();
    for ours in ["api", "worker", "migrate"] {
        assert_eq!(services[ours]["read_only"], true);
        assert_eq!(services[ours]["cap_drop"], json!(["ALL"]));
        assert_eq!(services[ours]["build"]["dockerfile"], "deploy/Dockerfile");
    }
    assert_eq!(services["airflow"]["profiles"], json!(["airflow"]));
    for stateful in ["postgres", "kafka"] {
        assert_eq!(services[stateful]["volumes"][0]["type"], "volume");
    }
    assert_eq!(services["api"]["ports"][0]["published"], "9000");
    for (name, service) in services {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is reachable from other machines");
        }
    }
}

/// The settings that `compose.yaml` itself sets.
const FIXED: [&str; 5] = [
    "DATABASE_URL",
    "KAFKA_BOOTSTRAP_SERVERS",
    "ORCHESTRATION_API_METRICS_LISTEN",
    "ORCHESTRATION_LISTEN",
    "ORCHESTRATION_METRICS_LISTEN",
];

/// Returns the variables that the page of settings lists for a program.
fn documented_settings(program: &str) -> Vec<String> {
    let page = text("deploy/CONFIGURATION.md");
    let (_, section) = page.split_once(&format!("\n## Settings of the {program}\n")).unwrap();
    let rows = section.split("\n## ").next().unwrap().lines();
    let names = rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test]
async fn every_setting_of_the_env_file_reaches_the_containers() {
    let programs = [("API", "api"), ("API", "migrate"), ("worker", "worker")];
    let settings: Vec<_> = programs.map(|(name, service)| (service, documented_settings(name))).into();
    let all: BTreeSet<&String> = settings.iter().flat_map(|(_, names)| names).collect();
    assert!(all.len() > 50, "{all:?}");
    let value = |name: &str| format!("value of {name}");
    let lines = all.iter().map(|name| format!("{name}='{}'\n", value(name)));
    let env_file = lines.collect::<String>() + "POSTGRES_PASSWORD=secret\n";
    let output = compose(&env_file, &["config", "--format", "json"]).await;
    let resolved: Value = serde_json::from_str(&output.unwrap_or_else(|error| panic!("{error}"))).unwrap();
    for (service, names) in &settings {
        let environment = &resolved["services"][service]["environment"];
        for name in names {
            let is_given = environment[name] == value(name);
            assert_eq!(is_given, !FIXED.contains(&name.as_str()), "{service}: {name}");
        }
    }
}
