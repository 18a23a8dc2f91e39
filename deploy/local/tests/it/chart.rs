//! Tests of the Helm chart: it is linted, rendered with several value sets, validated against Kubernetes'
//! schemas, and compared with snapshots.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::checks::{asset, checker, repository, run};

/// Manifests by kind and name.
type Manifests = BTreeMap<String, Value>;

async fn render(values: &Path) -> Result<Manifests, String> {
    let mut command = Command::new(checker("python").await);
    let output = run(command.arg(asset("chart.py")).arg(repository().join("deploy/chart")).arg(values))?;
    let manifests: Vec<Value> = serde_json::from_str(&output).map_err(|error| error.to_string())?;
    let name = |manifest: &Value| {
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", of(&manifest["kind"]), of(&manifest["metadata"]["name"]))
    };
    Ok(manifests.into_iter().map(|manifest| (name(&manifest), manifest)).collect())
}

async fn example(name: &str) -> Manifests {
    let values = repository().join(format!("deploy/chart/ci/{name}-values.yaml"));
    render(&values).await.unwrap_or_else(|error| panic!("{error}"))
}

fn yaml<'a>(manifests: impl IntoIterator<Item = &'a Value>) -> String {
    manifests
        .into_iter()
        .map(|manifest| format!("---\n{}", serde_yaml_ng::to_string(manifest).unwrap()))
        .collect()
}

#[tokio::test]
async fn rendered_chart_matches_the_snapshots() {
    let default = example("default").await;
    insta::assert_snapshot!("default", yaml(default.values()));
    // The other snapshots hold only the differences from the default.
    for name in ["managed", "small"] {
        let manifests = example(name).await;
        let other = manifests.iter().filter(|(key, manifest)| default.get(*key) != Some(manifest));
        let missing: Vec<&String> = default.keys().filter(|key| !manifests.contains_key(*key)).collect();
        let other = yaml(other.map(|(_, manifest)| manifest));
        insta::assert_snapshot!(name, format!("# without {missing:?}\n{other}"));
    }
}

#[tokio::test]
async fn pods_run_unprivileged_and_reference_secrets_by_name() {
    for name in ["default", "managed", "small"] {
        let manifests = example(name).await;
        let pods: Vec<&Value> = manifests
            .values()
            .map(|manifest| &manifest["spec"]["template"]["spec"])
            .filter(|pod| pod.is_object())
            .collect();
        assert!(pods.len() >= 2, "{name}");
        for pod in pods {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["automountServiceAccountToken"], false);
            for container in pod["containers"].as_array().unwrap() {
                let context = &container["securityContext"];
                assert_eq!(context["readOnlyRootFilesystem"], true);
                assert_eq!(context["allowPrivilegeEscalation"], false);
                assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
                assert!(container["resources"]["limits"]["memory"].is_string());
                let environment = container["env"].as_array().unwrap();
                for secret in environment.iter().filter(|entry| is_secret(entry)) {
                    assert!(secret["valueFrom"]["secretKeyRef"]["name"].is_string(), "{secret}");
                }
            }
        }
        assert!(!manifests.keys().any(|key| key.starts_with("Secret ")), "{name}");
    }
}

fn is_secret(entry: &Value) -> bool {
    ["DATABASE_URL", "ORCHESTRATION_SEALING_KEYS", "ORCHESTRATION_KAFKA_OPTIONS"]
        .contains(&entry["name"].as_str().unwrap())
}

#[tokio::test]
async fn migration_job_runs_before_an_upgrade_and_gets_no_sealing_key() {
    let manifests = example("managed").await;
    let job = &manifests["Job orchestration-migration"];
    assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
    let environment = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let reference = json!({"name": "orchestration-migration", "key": "DATABASE_URL"});
    assert_eq!(*environment, json!([{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": reference}}]));
}

#[tokio::test]
async fn invalid_values_are_rejected_with_their_path() {
    let valid = "settings: {KAFKA_BOOTSTRAP_SERVERS: 'kafka:9092'}";
    let cases = [
        ("api: {replicas: 1}", "/settings/KAFKA_BOOTSTRAP_SERVERS"),
        ("settings: {KAFKA_BOOTSTRAP_SERVERS: kafka}", "/settings/KAFKA_BOOTSTRAP_SERVERS"),
        (&format!("{valid}\napi: {{replica: 3}}"), "/api/replica"),
        (&format!("{valid}\nworker: {{replicas: 0}}"), "/worker/replicas"),
        (&format!("{valid}\nimage: {{digest: latest}}"), "/image/digest"),
        (&format!("{valid}\nworker: {{settings: {{DATABASE_URL: here}}}}"), "'DATABASE_URL'"),
        (&format!("{valid}\ntls: {{configMap: a, secret: b}}"), "/tls"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (values, path) in cases {
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, values).unwrap();
        let error = render(&file).await.expect_err(values);
        assert!(error.contains(path), "{values}: {error}");
    }
}
