//! Tests of the Helm chart: it is linted, rendered with several value sets, validated against Kubernetes'
//! schemas, and compared with snapshots.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::checks::{asset, checker, repository, run, text};

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

/// Removes the content of what is copied from `deploy/monitoring`, which has tests of its own.
fn without_copies(mut manifests: Manifests) -> Manifests {
    for (name, manifest) in &mut manifests {
        match name.split(' ').next() {
            Some("PrometheusRule") => manifest["spec"] = Value::Null,
            Some("ConfigMap") => manifest["data"] = Value::Null,
            _ => {}
        }
    }
    manifests
}

fn yaml<'a>(manifests: impl IntoIterator<Item = &'a Value>) -> String {
    let document = |manifest: &Value| {
        let manifest: serde_yaml_ng::Value = serde_yaml_ng::from_str(&manifest.to_string()).unwrap();
        format!("---\n{}", serde_yaml_ng::to_string(&manifest).unwrap())
    };
    manifests.into_iter().map(document).collect()
}

#[tokio::test]
async fn rendered_chart_matches_the_snapshots() {
    let default = without_copies(example("default").await);
    insta::assert_snapshot!("default", yaml(default.values()));
    // The other snapshots hold only the differences from the default.
    for name in ["managed", "small"] {
        let manifests = without_copies(example(name).await);
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
    let expected = json!([
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": reference}},
        {"name": "ORCHESTRATION_API_ROLE", "value": "data_api"},
        {"name": "ORCHESTRATION_WORKER_ROLE", "value": "data_worker"},
    ]);
    assert_eq!(*environment, expected);
    let policy = &manifests["NetworkPolicy orchestration-migration"]["metadata"]["annotations"];
    assert_eq!(
        (&policy["helm.sh/hook"], &policy["helm.sh/hook-weight"]),
        (&json!("pre-install,pre-upgrade"), &json!("-1"))
    );
}

#[tokio::test]
async fn invalid_values_are_rejected_with_their_path() {
    let kafka = "settings: {KAFKA_BOOTSTRAP_SERVERS: 'kafka:9092'}";
    let valid = &format!("{kafka}\nimage: {{repository: registry.example/orchestration}}");
    let cases = [
        ("api: {replicas: 1}", "/settings/KAFKA_BOOTSTRAP_SERVERS"),
        ("settings: {KAFKA_BOOTSTRAP_SERVERS: kafka}", "/settings/KAFKA_BOOTSTRAP_SERVERS"),
        (&format!("{valid}\napi: {{replica: 3}}"), "/api/replica"),
        (&format!("{valid}\nworker: {{replicas: 0}}"), "/worker/replicas"),
        (kafka, "/image/repository"),
        (&format!("{kafka}\nimage: {{repository: orchestration}}"), "/image/repository"),
        (&format!("{kafka}\nimage: {{repository: a/b, digest: latest}}"), "/image/digest"),
        (&format!("{valid}\nmigration: {{settings: {{DATABASE_URL: here}}}}"), "'DATABASE_URL'"),
        (&format!("{valid}\ningress: {{enabled: true}}"), "/ingress/hosts"),
        (&format!("{valid}\ndatabase: {{maxConnections: 100}}"), "but database.maxConnections is 100"),
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

/// Returns the value of an environment variable of a deployment's container.
fn variable<'a>(manifests: &'a Manifests, deployment: &str, name: &str) -> Option<&'a Value> {
    let environment = manifests[deployment]["spec"]["template"]["spec"]["containers"][0]["env"].as_array()?;
    environment.iter().find(|entry| entry["name"] == name)
}

#[tokio::test]
async fn metrics_and_probes_have_a_port_that_callers_do_not_reach() {
    for name in ["default", "managed", "small"] {
        let manifests = example(name).await;
        for part in ["api", "worker"] {
            let deployment = &manifests[&format!("Deployment orchestration-{part}")];
            let container = &deployment["spec"]["template"]["spec"]["containers"][0];
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert_eq!(container[probe]["httpGet"]["port"], "metrics", "{name}: {part}");
            }
            let ports = &manifests[&format!("Service orchestration-{part}-metrics")]["spec"]["ports"];
            assert_eq!(*ports, json!([{"name": "metrics", "port": 9464, "targetPort": "metrics"}]));
        }
        let callers = &manifests["Service orchestration-api"]["spec"]["ports"];
        assert_eq!(*callers, json!([{"name": "http", "port": 80, "targetPort": "http"}]));
        let api = "Deployment orchestration-api";
        assert!(variable(&manifests, api, "ORCHESTRATION_API_METRICS_LISTEN").is_some());
    }
}

#[tokio::test]
async fn pools_of_all_pods_fit_into_the_connections_of_postgresql() {
    for (name, limit) in [("default", 200), ("managed", 400), ("small", 97)] {
        let manifests = example(name).await;
        let number = |part: &str, setting: &str, default: i64| {
            let entry = variable(&manifests, &format!("Deployment orchestration-{part}"), setting);
            entry.map_or(default, |entry| entry["value"].as_str().unwrap().parse().unwrap())
        };
        let replicas = |part: &str| {
            let autoscaler = manifests.get(&format!("HorizontalPodAutoscaler orchestration-{part}"));
            let deployment = &manifests[&format!("Deployment orchestration-{part}")]["spec"]["replicas"];
            autoscaler.map_or(deployment, |it| &it["spec"]["maxReplicas"]).as_i64().unwrap()
        };
        let pool = "ORCHESTRATION_DATABASE_CONNECTIONS";
        let api = number("api", pool, 16) + 4;
        let worker = number("worker", pool, 16) + number("worker", "ORCHESTRATION_CONTROL_CONNECTIONS", 6);
        let needed = api * (replicas("api") + 1) + worker * (replicas("worker") + 1);
        assert!(needed <= limit, "{name}: {needed}");
    }
}

#[tokio::test]
async fn callers_and_the_test_reach_the_api_and_prometheus_its_metrics() {
    let manifests = example("managed").await;
    let rules = manifests["NetworkPolicy orchestration-api"]["spec"]["ingress"].as_array().unwrap();
    let port = |rule: &Value| rule["ports"][0]["port"].as_i64().unwrap();
    assert_eq!(rules.iter().map(port).collect::<Vec<_>>(), [8080, 9464]);
    let test = &manifests["Pod orchestration-test"];
    assert_eq!(rules[0]["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "test");
    assert_eq!(test["metadata"]["labels"]["app.kubernetes.io/component"], "test");
    assert_eq!(test["spec"]["containers"][0]["command"], json!(["ready", "80", "orchestration-api"]));
    let backend = json!({"service": {"name": "orchestration-api", "port": {"name": "http"}}});
    let ingress = &manifests["Ingress orchestration-api"]["spec"]["rules"][0];
    assert_eq!(ingress["http"]["paths"][0]["backend"], backend);
    let route = &manifests["HTTPRoute orchestration-api"]["spec"];
    assert_eq!(route["rules"][0]["backendRefs"], json!([{"name": "orchestration-api", "port": 80}]));
    let listen = variable(&manifests, "Deployment orchestration-api", "ORCHESTRATION_LISTEN").unwrap();
    assert_eq!(listen["value"], "[::]:8080");
    let default = example("default").await;
    let egress = &default["NetworkPolicy orchestration-worker"]["spec"]["egress"][1]["ports"];
    for port in [80, 443, 587, 4318, 5432, 6432, 9092, 9094, 9096, 9098] {
        let is_open = egress.as_array().unwrap().iter().any(|open| open["port"] == port);
        assert!(is_open, "{port}");
    }
}

#[tokio::test]
async fn rules_and_dashboard_are_those_of_the_monitoring_folder() {
    let manifests = example("managed").await;
    let rules: Value = serde_yaml_ng::from_str(&text("deploy/monitoring/alerts.yaml")).unwrap();
    assert_eq!(manifests["PrometheusRule orchestration"]["spec"], rules);
    let dashboard: Value = serde_json::from_str(&text("deploy/monitoring/dashboard.json")).unwrap();
    let copied = manifests["ConfigMap orchestration-dashboard"]["data"]["orchestration.json"].as_str();
    assert_eq!(serde_json::from_str::<Value>(copied.unwrap()).unwrap(), dashboard);
}

#[tokio::test]
async fn admin_pod_has_the_role_of_the_migration_and_further_settings_reach_the_pods() {
    let manifests = example("managed").await;
    let admin = "Deployment orchestration-admin";
    assert_eq!(manifests[admin]["spec"]["replicas"], 0);
    let secret = |name: &str, entry: &str| {
        variable(&manifests, name, entry).unwrap()["valueFrom"]["secretKeyRef"]["name"].clone()
    };
    assert_eq!(secret(admin, "DATABASE_URL"), "orchestration-migration");
    assert!(variable(&manifests, admin, "KAFKA_BOOTSTRAP_SERVERS").is_some());
    let oidc = secret("Deployment orchestration-api", "ORCHESTRATION_OIDC_CLIENT_SECRET");
    assert_eq!(oidc, "orchestration-oidc");
    let worker = &manifests["Deployment orchestration-worker"]["spec"]["template"]["spec"];
    assert_eq!(worker["volumes"][1]["name"], worker["containers"][0]["volumeMounts"][1]["name"]);
}

#[test]
fn documents_and_notes_have_a_timeout_beyond_the_deadline_of_a_migration() {
    let values: Value = serde_yaml_ng::from_str(&text("deploy/chart/values.yaml")).unwrap();
    let deadline = values["migration"]["deadline"].as_u64().unwrap();
    let hook = text("deploy/chart/templates/migration.yaml");
    assert!(hook.contains("activeDeadlineSeconds: {{ .Values.migration.deadline }}"), "{hook}");
    let notes = text("deploy/chart/templates/NOTES.txt");
    assert!(notes.contains("--timeout {{ add .Values.migration.deadline 300 }}s"), "{notes}");
    let document = text("deploy/README.md");
    assert!(document.contains(&format!("`migration.deadline` ({} minutes)", deadline / 60)));
    let timeouts: Vec<u64> =
        document.split("--timeout ").filter_map(|rest| rest.split_once('m')?.0.parse().ok()).collect();
    assert!(!timeouts.is_empty() && timeouts.iter().all(|minutes| minutes * 60 > deadline), "{timeouts:?}");
}

/// Validates manifests of operators and of the Gateway API; the kinds that were validated.
async fn validate_custom(manifests: &[&Value]) -> Result<Vec<String>, String> {
    let folder = asset("manifests");
    local::node_packages(&folder).await.unwrap();
    let input = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(input.path(), serde_json::to_string(manifests).unwrap()).unwrap();
    let mut node = Command::new("node");
    node.current_dir(&folder).arg("validate.mjs").stdin(input.reopen().unwrap());
    run(&mut node).map(|output| serde_json::from_str(&output).unwrap())
}

#[tokio::test]
async fn manifests_of_operators_and_of_the_gateway_api_match_their_schemas() {
    let mut found = Vec::new();
    for name in ["default", "managed", "small"] {
        let manifests = example(name).await;
        let is_custom = |manifest: &&Value| {
            let version = manifest["apiVersion"].as_str().unwrap();
            ["monitoring.coreos.com/", "gateway.networking.k8s.io/"].iter().any(|it| version.starts_with(it))
        };
        let custom: Vec<&Value> = manifests.values().filter(is_custom).collect();
        found.extend(validate_custom(&custom).await.unwrap_or_else(|error| panic!("{name}: {error}")));
        for manifest in custom {
            let mut broken = manifest.clone();
            broken["spec"] = json!({"endpoints": 7, "groups": 7, "rules": 7});
            validate_custom(&[&broken]).await.expect_err("a number is no list");
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found, ["HTTPRoute", "PrometheusRule", "ServiceMonitor"]);
}
