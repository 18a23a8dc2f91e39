//! The logs: one trace found from the request to the read model, ids to search for, no noise, and no secret.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::system::{SPACE, System};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_is_found_from_the_request_through_kafka_to_the_read_model() {
    let system = System::start().await;
    let sync = system.sync(Some(&format!("00-{TRACE}-00f067aa0ba902b7-01"))).await;
    let id = sync["id"].as_str().unwrap();

    let api = lines_of_trace(&system.log("api"));
    let answered = line(&api, "answered");
    assert_eq!((answered["status"].as_u64(), answered["span"]["method"].as_str()), (Some(202), Some("POST")));
    assert_eq!(answered["span"]["space"], SPACE);
    assert!(
        answered["span"]["user_id"].is_string() && answered["span"]["request_id"].is_string(),
        "{answered}"
    );

    let worker = lines_of_trace(&system.log("worker"));
    let asked = line(&worker, "a sync is asked for");
    assert_eq!(
        (asked["sync_id"].as_str(), asked["connector_id"].as_str()),
        (Some(id), Some(system.connector.as_str()))
    );
    let synced = line(&worker, "synced");
    let span = &synced["span"];
    assert_eq!((span["sync_ids"].as_str(), span["space"].as_str()), (Some(id), Some(SPACE)));
    assert_eq!(span["connector_id"], system.connector);
    assert!(synced["events_published"].as_u64() > Some(0), "{synced}");
    let applied: BTreeSet<&str> = worker
        .iter()
        .filter(|line| line["message"] == "applied")
        .map(|line| line["group"].as_str().unwrap())
        .collect();
    assert_eq!(applied, BTreeSet::from(["projector", "requests"]));

    tells_no_secret_and_makes_no_noise(&system);
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

fn tells_no_secret_and_makes_no_noise(system: &System) {
    for name in ["api", "worker"] {
        let text = system.log_text(name);
        for secret in [system.key.as_str(), &system.airflow.password, crate::system::SEALING_KEY] {
            assert!(secret.len() > 8 && !text.contains(secret), "a secret in {text}");
        }
        // What is logged unless somebody asks for more. A busy machine may be slow to answer, and be warned of.
        let log = system.log(name).into_iter().filter(|line| line["level"] != "DEBUG").collect::<Vec<_>>();
        for line in &log {
            assert_ne!(line["level"], "ERROR", "nothing is wrong here: {line}");
            for part in ["timestamp", "message", "target"] {
                assert!(line[part].is_string(), "no {part} in {line}");
            }
        }
        assert!(lines_of_trace(&log).iter().all(|line| line["level"] == "INFO"), "{log:?}");
        let told = log.iter().filter(|line| line["level"] == "INFO").count();
        assert!(told < 20, "{log:?}");
    }
}
