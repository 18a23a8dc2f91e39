//! Links from an answer that tells an id to the operations that take it, so that tools find their way through the API.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What tells an id: the schema, the path parameter that takes it, and where in the schema it stands.
const TELLS: [(&str, &str, &str); 9] = [
    ("Pipeline", "pipeline_id", "id"),
    ("PipelineDetail", "pipeline_id", "id"),
    ("Run", "run_id", "id"),
    ("RunDetail", "run_id", "id"),
    ("RunDetail", "task_run_id", "tasks/0/id"),
    ("TaskRun", "task_run_id", "id"),
    ("Comment", "comment_id", "id"),
    ("Sync", "sync_id", "id"),
    ("Connector", "connector_id", "id"),
];

/// Adds its links to every good answer of a read or a creation.
pub fn add(paths: &mut Value) {
    let targets = operations(paths);
    for (path, methods) in paths.as_object_mut().into_iter().flatten() {
        for (method, operation) in methods.as_object_mut().into_iter().flatten() {
            let responses = operation["responses"].as_object_mut().into_iter().flatten();
            for (_, response) in responses
                .filter(|(code, _)| code.starts_with('2') && ["get", "post"].contains(&method.as_str()))
            {
                let links = links(&parameters(path), &told(response), &targets);
                if !links.is_empty() {
                    response["links"] = Value::Object(links);
                }
            }
        }
    }
}

/// The path parameters of every operation, by its id.
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

/// The path parameters that an answer tells, with the expressions that find them.
fn told(response: &Value) -> BTreeMap<&'static str, String> {
    let schema = &response["content"]["application/json"]["schema"];
    let (schema, first) = if schema["type"] == "array" { (&schema["items"], "/0") } else { (schema, "") };
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    let tells = TELLS.iter().filter(|(kind, _, _)| *kind == name);
    tells.map(|(_, parameter, place)| (*parameter, format!("$response.body#{first}/{place}"))).collect()
}

/// Links to the operations that take an id told here, and nothing else but what the request had already.
fn links(
    here: &[String],
    told: &BTreeMap<&'static str, String>,
    targets: &BTreeMap<String, Vec<String>>,
) -> Map<String, Value> {
    let mut links = Map::new();
    for (target, wanted) in targets {
        let expression = |name: &String| match told.get(name.as_str()) {
            Some(expression) => Some((name.clone(), json!(expression))),
            None if here.contains(name) => Some((name.clone(), json!(format!("$request.path.{name}")))),
            None => None,
        };
        let found: Option<Map<_, _>> = wanted.iter().map(expression).collect();
        if let Some(found) = found
            && wanted.iter().any(|name| told.contains_key(name.as_str()))
        {
            links.insert(target.clone(), json!({"operationId": target, "parameters": found}));
        }
    }
    links
}
