//! The direction of flow inside a crate: the top-level modules that each top-level module may import.

use std::collections::BTreeSet;

use super::imports::{ImportGraph, import_graph, planted};
use super::source_tree::SourceTree;
use crate::checks::rust_sources;

/// A top-level module of a crate, and the modules of the same crate that it may import.
struct ModuleRule {
    name: &'static str,
    may_import: &'static [&'static str],
}

const fn module(name: &'static str, may_import: &'static [&'static str]) -> ModuleRule {
    ModuleRule { name, may_import }
}

/// From the SQL up to the server, which alone has the OpenAPI document; `lib` and `main` may import
/// everything.
const API: [ModuleRule; 15] = [
    module("store", &[]),
    module("http", &["store"]),
    module("auth", &["http", "store"]),
    module("console", &["http"]),
    module("stream", &["store"]),
    module("oidc", &["auth", "http", "store"]),
    module("triggers", &["auth", "http", "state", "store"]),
    module("read_queue", &["http"]),
    module("readiness", &["store"]),
    module("state", &["auth", "http", "oidc", "read_queue", "readiness", "store", "stream"]),
    module(
        "routes",
        &[
            "auth",
            "console",
            "http",
            "oidc",
            "read_queue",
            "readiness",
            "state",
            "store",
            "stream",
            "triggers",
        ],
    ),
    module("openapi", &["auth", "http", "routes", "store"]),
    module("commands", &["auth", "store"]),
    module("cli", &["auth", "commands", "oidc", "store", "stream"]),
    module(
        "server",
        &[
            "auth",
            "cli",
            "http",
            "oidc",
            "openapi",
            "read_queue",
            "readiness",
            "routes",
            "state",
            "store",
            "stream",
        ],
    ),
];

/// `records` is the type of a Kafka record for all modules below the consumer; all modules above `metrics`
/// record metrics.
const WORKER: [ModuleRule; 17] = [
    module("records", &[]),
    module("store", &["records"]),
    module("metrics", &["store"]),
    module("projection", &["records", "store"]),
    module("consumer", &["metrics", "records", "store"]),
    module("sync", &["metrics", "projection", "store"]),
    module("queue", &["metrics", "records", "store", "sync"]),
    module("retention", &["metrics", "store"]),
    module("expectations", &["store"]),
    module("signals", &["metrics", "store"]),
    module("notifications", &["metrics", "store"]),
    module("relay", &[]),
    module("cli", &["notifications", "retention"]),
    module("http", &["metrics"]),
    module("watched_tasks", &[]),
    module(
        "app",
        &[
            "cli",
            "consumer",
            "expectations",
            "http",
            "metrics",
            "notifications",
            "projection",
            "queue",
            "records",
            "relay",
            "retention",
            "signals",
            "store",
            "watched_tasks",
        ],
    ),
    module(
        "commands",
        &["app", "cli", "consumer", "projection", "queue", "records", "signals", "store", "sync"],
    ),
];

/// The crate roots, which may import every module.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Returns the modules of the crate that the table lacks, so that their imports would not be checked.
fn missing_modules(graph: &ImportGraph, rules: &[ModuleRule]) -> BTreeSet<String> {
    let names = graph.keys().filter_map(|module| module.first());
    let has_rule = |name: &str| ROOTS.contains(&name) || rules.iter().any(|rule| rule.name == name);
    names.filter(|name| !has_rule(name)).cloned().collect()
}

/// Returns every import that the table does not allow.
fn backward_imports(graph: &ImportGraph, rules: &[ModuleRule]) -> Vec<String> {
    let mut found = Vec::new();
    for rule in rules {
        for (module, targets) in
            graph.iter().filter(|(module, _)| module.first().is_some_and(|it| it == rule.name))
        {
            for target in targets {
                let other = target.first().map_or("", String::as_str);
                if !rule.may_import.contains(&other) && other != rule.name {
                    found.push(format!("{} → {}", module.join("::"), target.join("::")));
                }
            }
        }
    }
    found
}

#[test]
fn no_module_imports_against_the_direction_of_flow() {
    let files = rust_sources();
    let mut found = Vec::new();
    for (folder, rules) in [("api", API.as_slice()), ("worker", WORKER.as_slice())] {
        for tree in SourceTree::of_crate(folder, &files) {
            let graph = import_graph(&tree);
            let missing = missing_modules(&graph, rules);
            assert!(missing.is_empty(), "{folder}: the table of directions lacks {missing:?}");
            let backward = backward_imports(&graph, rules).into_iter();
            found.extend(backward.map(|import| format!("{folder}: {import}")));
        }
    }
    assert!(found.is_empty(), "{} imports against the direction of flow\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_planted_backward_import_is_found() {
    let rules = [module("routes", &["store"]), module("store", &[])];
    let backward = |store| {
        let files = [
            ("lib.rs", ""),
            ("routes.rs", "use crate::store::runs::find;"),
            ("store.rs", ""),
            ("store/runs.rs", store),
        ];
        backward_imports(&planted(&files), &rules)
    };
    assert_eq!(backward("use super::Db;"), [""; 0]);
    assert_eq!(backward("use crate::routes::Response;"), ["store::runs → routes"]);
}

#[test]
fn a_module_that_the_table_lacks_is_found() {
    let graph = planted(&[("lib.rs", ""), ("store.rs", ""), ("cache.rs", "use crate::store::Row;")]);
    assert_eq!(missing_modules(&graph, &[module("store", &[])]), BTreeSet::from(["cache".to_owned()]));
}
