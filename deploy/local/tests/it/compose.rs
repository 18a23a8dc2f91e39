//! `compose.yaml`, read and resolved by Docker Compose itself. Nothing is started: that needs an engine.

use std::process::Command;

use serde_json::{Value, json};

use crate::checks::{checker, repository, run};

async fn compose(env_file: &str, arguments: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("compose.env");
    std::fs::write(&secrets, env_file).unwrap();
    let mut command = Command::new(checker("docker-compose").await);
    command.current_dir(repository()).env_remove("DATABASE_URL").arg("--env-file").arg(&secrets);
    run(command.args(["-f", "deploy/compose.yaml", "--profile", "*"]).args(arguments))
}

async fn resolved() -> Value {
    let secrets = "POSTGRES_PASSWORD=hush\nORCHESTRATION_SEALING_KEYS=keys\nORCHESTRATION_PORT=9000\n";
    let said = compose(secrets, &["config", "--format", "json"]).await;
    serde_json::from_str(&said.unwrap_or_else(|complaint| panic!("{complaint}"))).unwrap()
}

#[tokio::test]
async fn compose_starts_nothing_without_the_secrets_and_says_what_to_do() {
    let refusal = compose("POSTGRES_PASSWORD=hush\n", &["config", "--quiet"]).await.unwrap_err();
    assert!(
        refusal.contains("ORCHESTRATION_SEALING_KEYS") && refusal.contains("deploy/README.md"),
        "{refusal}"
    );
}

#[tokio::test]
async fn everything_in_compose_waits_for_what_it_needs_and_says_whether_it_is_well() {
    let resolved = resolved().await;
    let services = resolved["services"].as_object().unwrap();
    let names: Vec<&String> = services.keys().collect();
    assert_eq!(names, ["airflow", "api", "kafka", "migrate", "postgres", "worker"]);
    for (name, service) in services.iter().filter(|(name, _)| *name != "migrate") {
        assert!(service["healthcheck"]["test"].is_array(), "{name}");
    }
    assert_eq!(services["migrate"]["depends_on"]["postgres"]["condition"], "service_healthy");
    for ours in ["api", "worker"] {
        let needs = &services[ours]["depends_on"];
        assert_eq!(needs["migrate"]["condition"], "service_completed_successfully");
        assert_eq!(needs["kafka"]["condition"], "service_healthy");
        assert_eq!(
            services[ours]["environment"]["DATABASE_URL"],
            "postgres://orchestration:hush@postgres:5432/orchestration"
        );
    }
    for ours in ["api", "worker", "migrate"] {
        assert_eq!(services[ours]["read_only"], true);
        assert_eq!(services[ours]["cap_drop"], json!(["ALL"]));
        assert_eq!(services[ours]["build"]["dockerfile"], "deploy/Dockerfile");
    }
    assert_eq!(services["airflow"]["profiles"], json!(["airflow"]));
    for kept in ["postgres", "kafka"] {
        assert_eq!(services[kept]["volumes"][0]["type"], "volume");
    }
    assert_eq!(services["api"]["ports"][0]["published"], "9000");
    for (name, service) in services {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} is open to the world");
        }
    }
}
