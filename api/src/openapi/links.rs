//! Links from a response that contains an id to the operations that take this id, so that tools can navigate
//! the API.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The sources of ids: the schema, the path parameter that takes the id, and the JSON pointer of the id.
const ID_SOURCES: [(&str, &str, &str); 10] = [
    ("Pipeline", "pipeline_id", "id"),
    ("PipelineDetail", "pipeline_id", "id"),
    ("Run", "run_id", "id"),
    ("RunDetail", "run_id", "id"),
    ("RunDetail", "task_run_id", "tasks/0/id"),
    ("TaskRun", "task_run_id", "id"),
    ("Comment", "comment_id", "id"),
    ("Sync", "sync_id", "id"),
    ("Incident", "incident_id", "id"),
    ("Connector", "connector_id", "id"),
];

/// Adds the links to every successful response of a read or a creation.
pub(super) fn add(paths: &mut Value) {
    let targets = operations(paths);
    for (path, methods) in paths.as_object_mut().into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            let responses = operation["responses"].as_object_mut().into_iter().flatten();
            for (_, response) in responses
                .filter(|(code, _)| code.starts_with('2') && ["get", "post"].contains(&method.as_str()))
            {
                let links = links(&parameters(path), &ids_in(response), &targets);
                if !links.is_empty() {
                    response["links"] = Value::Object(links);
                }
            }
        }
    }
}

/// Returns the path parameters of every operation, by its id.
fn operations(paths: &Value) -> BTreeMap<String, Vec<String>> {
    let paths = paths.as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, methods)| {
        let ids = methods
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, operation)| operation["operationId"].as_str());
        ids.map(|id| (id.to_owned(), parameters(path))).collect::<Vec<_>>()
    });
    operations.collect()
}

fn parameters(path: &str) -> Vec<String> {
    path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the path parameters whose ids a response contains, with the runtime expressions that select them.
fn ids_in(response: &Value) -> BTreeMap<&'static str, String> {
    let schema = &response["content"]["application/json"]["schema"];
    let (schema, prefix) = if schema["type"] == "array" { (&schema["items"], "/0") } else { (schema, "") };
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let sources = ID_SOURCES.iter().filter(|(schema, _, _)| *schema == name);
    sources
        .map(|(_, parameter, pointer)| (*parameter, format!("$response.body#{prefix}/{pointer}")))
        .collect()
}

/// Links to the operations that take an id of the response, and otherwise only parameters of the request.
fn links(
    request: &[String],
    ids: &BTreeMap<&'static str, String>,
    targets: &BTreeMap<String, Vec<String>>,
) -> Map<String, Value> {
    let mut links = Map::new();
    for (target, required) in targets {
        let expression = |name: &String| match ids.get(name.as_str()) {
            Some(expression) => Some((name.clone(), json!(expression))),
            None if request.contains(name) => Some((name.clone(), json!(format!("$request.path.{name}")))),
            None => None,
        };
        let found: Option<Map<_, _>> = required.iter().map(expression).collect();
        if let Some(found) = found
            && required.iter().any(|name| ids.contains_key(name.as_str()))
        {
            links.insert(target.clone(), json!({"operationId": target, "parameters": found}));
        }
    }
    links
}
