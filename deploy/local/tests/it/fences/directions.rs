//! The direction of flow inside a crate: which rooms (the folders and files right below `src`) a room must
//! not import.

use std::collections::BTreeSet;

use super::imports::{ImportGraph, import_graph, planted};
use super::source_tree::SourceTree;
use crate::checks::rust_sources;

/// A room of a crate, and the rooms of the same crate that it may import.
struct Room {
    name: &'static str,
    may_import: &'static [&'static str],
}

const fn room(name: &'static str, may_import: &'static [&'static str]) -> Room {
    Room { name, may_import }
}

/// From the SQL up to the server, which alone has the OpenAPI document; `lib` and `main` may import everything.
const API: [Room; 11] = [
    room("store", &[]),
    room("http", &["store"]),
    room("auth", &["http", "state", "store"]),
    room("stream", &["store"]),
    room("triggers", &["auth", "http", "state", "store"]),
    room("state", &["auth", "http", "store", "stream"]),
    room("routes", &["auth", "http", "state", "store", "stream", "triggers"]),
    room("openapi", &["http", "routes", "store"]),
    room("commands", &["auth", "store"]),
    room("cli", &["commands", "stream"]),
    room("server", &["auth", "cli", "http", "openapi", "routes", "state", "store", "stream"]),
];

/// `records` is a record of Kafka as every room below the consumer sees it; `metrics` is recorded by all
/// rooms above it.
const WORKER: [Room; 12] = [
    room("records", &[]),
    room("store", &["records"]),
    room("metrics", &["store"]),
    room("projection", &["records", "store"]),
    room("consumer", &["metrics", "records", "store"]),
    room("sync", &["metrics", "projection", "store"]),
    room("queue", &["metrics", "records", "store", "sync"]),
    room("retention", &["metrics", "store"]),
    room("cli", &["retention"]),
    room("http", &[]),
    room(
        "app",
        &["cli", "consumer", "http", "metrics", "projection", "queue", "records", "retention", "store"],
    ),
    room("commands", &["app", "cli", "consumer", "projection", "queue", "records", "store", "sync"]),
];

/// Where the rooms come together.
const ROOTS: [&str; 2] = ["lib", "main"];

/// Every room of the crate that the table lacks: its imports would not be checked.
fn missing_rooms(graph: &ImportGraph, rooms: &[Room]) -> BTreeSet<String> {
    let names = graph.keys().filter_map(|module| module.first());
    let known = |name: &str| ROOTS.contains(&name) || rooms.iter().any(|room| room.name == name);
    names.filter(|name| !known(name)).cloned().collect()
}

/// Every import from a room in the table to one that it may not import.
fn backward_imports(graph: &ImportGraph, rooms: &[Room]) -> Vec<String> {
    let mut found = Vec::new();
    for room in rooms {
        for (module, targets) in
            graph.iter().filter(|(module, _)| module.first().is_some_and(|it| it == room.name))
        {
            for target in targets {
                let other = target.first().map_or("", String::as_str);
                if !room.may_import.contains(&other) && other != room.name {
                    found.push(format!("{} → {}", module.join("::"), target.join("::")));
                }
            }
        }
    }
    found
}

#[test]
fn no_room_imports_against_the_direction_of_flow() {
    let files = rust_sources();
    let mut found = Vec::new();
    for (folder, rooms) in [("api", API.as_slice()), ("worker", WORKER.as_slice())] {
        for tree in SourceTree::of_crate(folder, &files) {
            let graph = import_graph(&tree);
            let missing = missing_rooms(&graph, rooms);
            assert!(missing.is_empty(), "{folder}: the table of directions lacks {missing:?}");
            let backward = backward_imports(&graph, rooms).into_iter();
            found.extend(backward.map(|import| format!("{folder}: {import}")));
        }
    }
    assert!(found.is_empty(), "{} imports against the direction of flow\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_planted_backward_import_is_found() {
    let rooms = [room("routes", &["store"]), room("store", &[])];
    let backward = |store| {
        let files = [
            ("lib.rs", ""),
            ("routes.rs", "use crate::store::runs::find;"),
            ("store.rs", ""),
            ("store/runs.rs", store),
        ];
        backward_imports(&planted(&files), &rooms)
    };
    assert_eq!(backward("use super::Db;"), [""; 0]);
    assert_eq!(backward("use crate::routes::Answer;"), ["store::runs → routes"]);
}

#[test]
fn a_room_that_the_table_lacks_is_found() {
    let graph = planted(&[("lib.rs", ""), ("store.rs", ""), ("cache.rs", "use crate::store::Row;")]);
    assert_eq!(missing_rooms(&graph, &[room("store", &[])]), BTreeSet::from(["cache".to_owned()]));
}
