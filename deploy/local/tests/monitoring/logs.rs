//! Tests of the logs: one trace ID from the request to the read model, searchable ids, few lines, and no
//! secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::system::{MonitoredSystem, SPACE};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn logs_contain_one_trace_from_the_request_through_kafka_to_the_read_model() {
    let system = MonitoredSystem::start().await;
    let sync = system.sync(Some(&format!("00-{TRACE}-00f067aa0ba902b7-01"))).await;
    let id = sync["id"].as_str().unwrap();

    let api = lines_of_trace(&system.log("api"));
    let response = line(&api, "response sent");
    assert_eq!((response["status"].as_u64(), response["span"]["method"].as_str()), (Some(202), Some("POST")));
    assert_eq!(response["span"]["space"], SPACE);
    assert!(
        response["span"]["user_id"].is_string() && response["span"]["request_id"].is_string(),
        "{response}"
    );

    let worker = lines_of_trace(&system.log("worker"));
    let request = line(&worker, "sync request accepted");
    assert_eq!(
        (request["sync_id"].as_str(), request["connector_id"].as_str()),
        (Some(id), Some(system.connector.as_str()))
    );
    let synced = line(&worker, "sync succeeded");
    let span = &synced["span"];
    assert_eq!((span["sync_ids"].as_str(), span["space"].as_str()), (Some(id), Some(SPACE)));
    assert_eq!(span["connector_id"], system.connector);
    assert!(synced["events_published"].as_u64() > Some(0), "{synced}");
    let applied: BTreeSet<&str> = worker
        .iter()
        .filter(|line| line["message"] == "batch applied")
        .map(|line| line["group"].as_str().unwrap())
        .collect();
    assert_eq!(applied, BTreeSet::from(["projector", "requests"]));

    assert_no_secrets_and_few_lines(&system);
}

fn lines_of_trace(log: &[Value]) -> Vec<Value> {
    let is_ours = |line: &&Value| {
        line["trace_id"] == TRACE
            || line["span"]["trace_id"] == TRACE
            || line["trace_ids"].as_str().is_some_and(|ids| ids.contains(TRACE))
    };
    log.iter().filter(is_ours).cloned().collect()
}

fn line<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    lines
        .iter()
        .find(|line| line["message"] == message)
        .unwrap_or_else(|| panic!("no {message:?} in {lines:?}"))
}

fn assert_no_secrets_and_few_lines(system: &MonitoredSystem) {
    for name in ["api", "worker"] {
        let text = system.log_text(name);
        for secret in [system.key.as_str(), &system.airflow.password, crate::system::SEALING_KEY] {
            assert!(secret.len() > 8 && !text.contains(secret), "a secret in {text}");
        }
        // The default level is INFO. Warnings are possible, because a busy machine may respond slowly.
        let log = system.log(name).into_iter().filter(|line| line["level"] != "DEBUG").collect::<Vec<_>>();
        for line in &log {
            assert_ne!(line["level"], "ERROR", "unexpected error: {line}");
            for field in ["timestamp", "message", "target"] {
                assert!(line[field].is_string(), "no {field} in {line}");
            }
        }
        assert!(lines_of_trace(&log).iter().all(|line| line["level"] == "INFO"), "{log:?}");
        let count = log.iter().filter(|line| line["level"] == "INFO").count();
        assert!(count < 20, "{log:?}");
    }
}
