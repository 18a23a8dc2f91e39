//! PgBouncer, as Debian has it, between the programs and PostgreSQL: in session mode everything works, in the
//! other modes every program and command is refused with a sentence.

use std::process::{Command, Stdio};
use std::time::Duration;

use axum::http::Method;
use local::LocalService;
use serde_json::{Value, json};
use testkit::{FakeAirflow, eventually, output_of};

use crate::app::SPACE;
use crate::event_stream::StreamClient;
use crate::system::{RunningSystem, SystemSettings};

const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn both_programs_work_through_a_pooler_in_session_mode() {
    let name = "pgbouncer-session-test";
    let database = local::test_database().await.unwrap();
    let urls = local::pgbouncer(name, "session", &database).await.unwrap();
    let settings = SystemSettings::new(urls).await;
    let roles = ["--worker-role", "orchestration_test_worker", "--api-role", "orchestration_test_api"];
    let migrate = settings.owner.api(&[&["migrate"][..], &roles[..]].concat()).await;
    assert!(output_of(migrate).await.status.success());
    settings.administer(&["space", "create", SPACE, "--name", "Finance"]).await;
    let key = settings.hire("ada@example.org", "admin").await;
    let system = RunningSystem::start(&settings, &[], &[]).await;

    let airflow = FakeAirflow::start(2).await;
    let mut stream = StreamClient::open(&system.api.url, &key, "type=run", None).await;
    let config = json!({"base_url": airflow.url});
    let connector = system.connect(&key, config, json!({"auth_type": "none"})).await;
    system.wait_for("a sync succeeds", &key, &connector, |it| it["last_success_at"].is_string()).await;
    assert_eq!(stream.next().await.unwrap().kind, "run");
    let pipelines = format!("/spaces/{SPACE}/orchestration/pipelines");
    let listed = system.expect(200, (Method::GET, &key, &pipelines), Value::Null).await;
    let pipeline = listed[0]["id"].as_str().unwrap();
    let trigger = format!("{pipelines}/{pipeline}/trigger");
    system.expect(201, (Method::POST, &key, &trigger), json!({})).await;

    // The owner's commands hold a lock of their session, and PostgreSQL notifies the API of a revoked key.
    assert!(output_of(settings.owner.worker(&["rebuild"]).await).await.status.success());
    let second = settings.administer(&["key", "create", "ada@example.org"]).await;
    let second_key = second["key"].as_str().unwrap();
    system.expect(200, (Method::GET, second_key, "/me"), Value::Null).await;
    settings.administer(&["key", "revoke", second["id"].as_str().unwrap()]).await;
    let is_rejected = async || system.call(Method::GET, second_key, "/me", Value::Null).await.0 == 401;
    eventually("the revoked key is rejected", TIMEOUT, is_rejected).await;
    drop(system);
    assert!(LocalService::named(name).stop().await.unwrap());
}

/// Returns what a program that must end with an error says.
async fn refusal(command: Command) -> String {
    let mut command = tokio::process::Command::from(command);
    let ended = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(TIMEOUT, ended).await.expect("the program ends").unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_refuse_a_pooler_whose_clients_share_sessions() {
    let database = local::test_database().await.unwrap();
    for mode in ["transaction", "statement"] {
        let name = format!("pgbouncer-{mode}-test");
        let urls = local::pgbouncer(&name, mode, &database).await.unwrap();
        let settings = SystemSettings::new(urls).await;
        for command in [
            settings.owner.api(&["migrate"]).await,
            settings.owner.api(&["space", "list"]).await,
            settings.owner.api(&["serve", "--listen", "127.0.0.1:0"]).await,
            settings.owner.worker(&["run", "--metrics-listen", "127.0.0.1:0"]).await,
            settings.owner.worker(&["rebuild"]).await,
            settings.owner.worker(&["dead-letters", "list"]).await,
        ] {
            let arguments = format!("{mode}: {command:?}");
            let message = refusal(command).await;
            assert!(message.contains("Set pool_mode = session"), "{arguments}: {message}");
        }
        assert!(LocalService::named(name).stop().await.unwrap());
    }
}
