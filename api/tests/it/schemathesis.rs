//! Property tests of the OpenAPI document: schemathesis (from PyPI) sends valid and invalid requests to a
//! running API, follows the document's links, and must find no response that contradicts the document.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::http::Method;
use sqlx::AssertSqlSafe;
use testkit::{ApiProcess, FakeAirflow, ProgramSettings, kafka_config, sealing_keys};
use tokio::process::Command;
use uuid::Uuid;

use crate::app::{SPACE, TestApi};
use crate::seed::{ADMIN, comment, hours_ago};

const TIMEOUT: Duration = Duration::from_secs(1800);

/// Path parameters whose values are ids of existing rows.
const PARAMETERS: [(&str, &str); 10] = [
    ("channel", "select id from notification_channels"),
    ("rule", "select id from notification_rules"),
    ("delivery", "select id from notification_deliveries"),
    ("pipeline", "select id from pipelines"),
    ("run", "select id from runs"),
    ("task_run", "select id from task_runs"),
    ("connector", "select id from connectors where connector_type = 'airflow'"),
    ("comment", "select id from comments"),
    ("user", "select id from users where name like 'Member %'"),
    ("team", "select id from teams where name like 'Team %'"),
];

/// Inserts rows of every kind; each connector leads to a fake Airflow.
async fn insert_rows(test: &TestApi) {
    let fake = FakeAirflow::start(0).await;
    test.sql(&format!(r#"update connectors set config = '{{"base_url": "{}"}}'"#, fake.url)).await;
    test.sql(
        "insert into connectors (id, space_id, name, connector_type, config, credentials_public)
             select gen_random_uuid(), space_id, 'airflow ' || n, connector_type, config, credentials_public
             from connectors, generate_series(1, 6) n where name = 'prod airflow'",
    )
    .await;
    test.sql(
        "insert into users (id, email, name)
             select gen_random_uuid(), 'member' || n || '@x.org', 'Member ' || n
             from generate_series(1, 6) n",
    )
    .await;
    test.sql(&format!(
        "insert into teams (id, space_id, name)
             select gen_random_uuid(), id, 'Team ' || n from spaces, generate_series(1, 6) n
             where slug = '{SPACE}'"
    ))
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

/// Inserts channels of e-mail, each with a rule and a delivery.
async fn insert_channels(test: &TestApi) {
    for n in 1..=4 {
        let channel = test.create_email_channel(&format!("channel {n}")).await;
        let rule = serde_json::json!({ "channel_id": channel });
        test.request(Method::POST, ADMIN, "/notifications/rules", rule).await.expect(201);
        let test_path = format!("/notifications/channels/{channel}/test");
        test.request(Method::POST, ADMIN, &test_path, serde_json::Value::Null).await.expect(202);
    }
}

async fn ids<T: From<Uuid>>(test: &TestApi, query: &str) -> Vec<T> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_all(&test.db).await.unwrap();
    ids.into_iter().map(T::from).collect()
}

/// The committed configuration with the ids of existing rows.
async fn configuration(test: &TestApi) -> String {
    let mut configuration = std::fs::read_to_string(folder().join("schemathesis.toml")).unwrap();
    for (kind, query) in PARAMETERS {
        let ids: Vec<Uuid> = ids(test, query).await;
        let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
        write!(configuration, "\n[dictionaries.{kind}]\nvalues = {ids:?}\n").unwrap();
    }
    configuration
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_running_api_conforms_to_its_document() {
    let kafka = local::kafka().await.unwrap();
    let test = TestApi::new().await;
    insert_rows(&test).await;
    insert_channels(&test).await;
    let program = ProgramSettings {
        database_url: test.database.api_url.clone(),
        kafka: kafka_config(&kafka, ""),
        sealing_keys: sealing_keys("a"),
    };
    let api = ApiProcess::start(&program, &[]).await;
    api.wait_until_ready().await;
    let requirements = folder().join("requirements.txt");
    let python = local::python_environment("schemathesis-venv", &["3.12", "3.13", "3.11"], &requirements)
        .await
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("schemathesis.toml");
    std::fs::write(&config, configuration(&test).await).unwrap();
    let run = Command::new(python.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(&config)
        .args(["run", &format!("{}/openapi.json", api.url)])
        .current_dir(directory.path())
        .env("SCHEMATHESIS_HOOKS", folder().join("formats.py"))
        .env("ORCHESTRATION_API_KEY", ADMIN)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, run).await.expect("schemathesis ends").unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    for phase in ["Examples", "Coverage", "Fuzzing", "Stateful"] {
        assert!(stdout.contains(&format!("✅ {phase}")), "{phase} did not run:\n{stdout}");
    }
}
