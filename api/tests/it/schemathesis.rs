//! The document tried out on the running service: schemathesis (from PyPI) asks whatever the document allows, and
//! whatever it does not, follows its links, and must find nothing that is not as the document says.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use sqlx::AssertSqlSafe;
use testkit::{FakeAirflow, sealing_keys};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::app::TestApi;
use crate::seed::{ADMIN, comment, hours_ago};

const LONGEST_RUN: Duration = Duration::from_secs(1800);

/// The path parameters whose values are drawn from what there is.
const KINDS: [(&str, &str); 5] = [
    ("pipeline", "select id from pipelines"),
    ("run", "select id from runs"),
    ("task_run", "select id from task_runs"),
    ("connector", "select id from connectors where connector_type = 'airflow'"),
    ("comment", "select id from comments"),
];

/// The binary, serving a world's database.
struct Served {
    _process: Child,
    url: String,
}

impl Served {
    async fn start(test: &TestApi, kafka: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_orchestration-api"))
            .args(["serve", "--listen", &free.to_string()])
            .env("DATABASE_URL", &test.database.api_url)
            .env("KAFKA_BOOTSTRAP_SERVERS", kafka)
            .env("ORCHESTRATION_SEALING_KEYS", sealing_keys("a"))
            .env("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true")
            .env("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0")
            .env("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0")
            .env("ORCHESTRATION_LOG", "warn")
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let served = Self { _process: process, url: format!("http://{free}") };
        let ready = async {
            while !reqwest::get(format!("{}/readyz", served.url))
                .await
                .is_ok_and(|ready| ready.status() == 200)
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready).await.expect("it becomes ready");
        served
    }
}

/// Some of everything, each connector leading to an Airflow that does as it is told.
async fn populate(test: &TestApi) {
    let fake = FakeAirflow::start(0).await;
    test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    test.sql(
        "insert into connectors (id, space_id, name, connector_type, config, credentials_public)
             select gen_random_uuid(), space_id, 'airflow ' || n, connector_type, config, credentials_public
             from connectors, generate_series(1, 6) n where name = 'prod airflow'",
    )
    .await;
    let connectors: Vec<_> = ids(test, "select id from connectors where name like 'airflow %'").await;
    for connector in connectors {
        for pipeline in ["sales", "stock"] {
            let pipeline = test.pipeline_of(connector, pipeline).await;
            for (name, status) in [("first", "success"), ("second", "failed")] {
                let run = test.run(pipeline, name, status, hours_ago(2)).await;
                let task_run = test.task_run(run, "extract", -1, status).await;
                for path in [format!("/runs/{run}/comments"), format!("/task-runs/{task_run}/comments")] {
                    test.request(Method::POST, ADMIN, &path, comment("a word")).await.expect(201);
                }
            }
        }
    }
}

async fn ids<T: From<Uuid>>(test: &TestApi, query: &str) -> Vec<T> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&test.db).await.unwrap();
    ids.into_iter().map(T::from).collect()
}

/// The settings of the repository, and the ids of what there is.
async fn settings(test: &TestApi) -> String {
    let mut settings = std::fs::read_to_string(folder().join("schemathesis.toml")).unwrap();
    for (kind, query) in KINDS {
        let ids: Vec<Uuid> = ids(test, query).await;
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        write!(settings, "\n[dictionaries.{kind}]\nvalues = {ids:?}\n").unwrap();
    }
    settings
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_service_is_as_its_document_says() {
    let kafka = local::kafka().await.unwrap();
    let test = TestApi::new().await;
    populate(&test).await;
    let served = Served::start(&test, &kafka).await;
    let requirements = folder().join("requirements.txt");
    let python = local::python_environment("schemathesis-venv", &["3.12", "3.13", "3.11"], &requirements)
        .await
        .unwrap();
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("schemathesis.toml");
    std::fs::write(&config, settings(&test).await).unwrap();
    let run = Command::new(python.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(&config)
        .args(["run", &format!("{}/openapi.json", served.url)])
        .current_dir(place.path())
        .env("SCHEMATHESIS_HOOKS", folder().join("formats.py"))
        .env("ORCHESTRATION_API_KEY", ADMIN)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LONGEST_RUN, run).await.expect("it comes to an end").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"] {
        assert!(said.contains(&format!("✅ {phase}")), "{phase} did not run:\n{said}");
    }
}
