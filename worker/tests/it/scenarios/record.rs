//! What each release answers after its first wave, for the tests of the provider: with `RECORD_AIRFLOW` set it is
//! written beside their other recordings.

use std::path::Path;

use serde_json::Value;

use super::scene::Scene;

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/provider/tests/fixtures");
const BODIES: [(&str, &str); 4] = [
    ("dags", "dags?limit=100"),
    ("tasks", "dags/outcomes/tasks"),
    ("dag_runs", "dags/~/dagRuns?limit=100"),
    ("task_instances", "dags/~/dagRuns/~/taskInstances?limit=100"),
];

pub async fn record(scene: &Scene) {
    if std::env::var_os("RECORD_AIRFLOW").is_none() {
        return;
    }
    let release = format!("{:?}", scene.setup.version).trim_start_matches('V').replace('_', ".");
    let folder = Path::new(RECORDINGS).join(format!("airflow-{release}"));
    for (name, path) in BODIES {
        let mut body = scene.airflow.get(path).await.unwrap();
        let dags = scene.airflow.dags_folder.as_ref().unwrap();
        clean("", &mut body, dags.to_str().unwrap());
        let text = serde_json::to_string_pretty(&body).unwrap() + "\n";
        std::fs::write(folder.join(format!("scenario_{name}.json")), text).unwrap();
    }
}

/// Takes out what tells of the machine.
fn clean(field: &str, value: &mut Value, dags: &str) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(field, value)| clean(field, value, dags)),
        Value::Array(items) => items.iter_mut().for_each(|item| clean(field, item, dags)),
        Value::String(text) => match field {
            "file_token" => *text = "signed".to_owned(),
            "unixname" => *text = "airflow".to_owned(),
            "hostname" if !text.is_empty() => *text = "airflow-worker-1".to_owned(),
            _ => *text = text.replace(dags, "/opt/airflow/dags"),
        },
        _ => {}
    }
}
