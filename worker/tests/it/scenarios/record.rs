//! Recordings of the REST API of each release after the first scenarios. With `RECORD_AIRFLOW` set, they are
//! written to the fixtures of the provider's tests.

use std::path::Path;

use serde_json::Value;

use super::mirrored_airflow::MirroredAirflow;

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/provider/tests/fixtures");
const BODIES: [(&str, &str); 5] = [
    ("dags", "dags?limit=100"),
    ("tasks", "dags/outcomes/tasks"),
    ("parameters", "dags/parameters/details"),
    ("dag_runs", "dags/~/dagRuns?limit=100"),
    ("task_instances", "dags/~/dagRuns/~/taskInstances?limit=100"),
];

pub(super) async fn record(mirrored: &MirroredAirflow) {
    if std::env::var_os("RECORD_AIRFLOW").is_none() {
        return;
    }
    let release = format!("{:?}", mirrored.setup.version).trim_start_matches('V').replace('_', ".");
    let folder = Path::new(RECORDINGS).join(format!("airflow-{release}"));
    for (name, path) in BODIES {
        let mut body = mirrored.airflow.get(path).await.unwrap();
        let dags = mirrored.airflow.dags_folder.as_ref().unwrap();
        anonymize("", &mut body, dags.to_str().unwrap());
        let text = serde_json::to_string_pretty(&body).unwrap() + "\n";
        std::fs::write(folder.join(format!("scenario_{name}.json")), text).unwrap();
    }
}

/// Replaces values that depend on the machine.
fn anonymize(field: &str, value: &mut Value, dags: &str) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(field, value)| anonymize(field, value, dags)),
        Value::Array(items) => items.iter_mut().for_each(|item| anonymize(field, item, dags)),
        Value::String(text) => match field {
            "file_token" => *text = "signed".to_owned(),
            "unixname" => *text = "airflow".to_owned(),
            "hostname" if !text.is_empty() => *text = "airflow-worker-1".to_owned(),
            _ => *text = text.replace(dags, "/opt/airflow/dags"),
        },
        _ => {}
    }
}
