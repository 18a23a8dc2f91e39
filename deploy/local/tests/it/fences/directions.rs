//! The direction of flow inside a crate: which rooms (the folders and files right below `src`) a room must
//! not import.

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

/// `routes` and `commands` use what lies below them; `openapi` describes them, and only the server has the
/// document.
const API: [Room; 7] = [
    room("store", &[]),
    room("http", &["store"]),
    room("auth", &["http", "state", "store"]),
    room("stream", &["store"]),
    room("triggers", &["auth", "http", "state", "store"]),
    room("state", &["auth", "http", "store", "stream"]),
    room("routes", &["auth", "http", "state", "store", "stream", "triggers"]),
];

/// `records` is a record of Kafka as every room below the consumer sees it; `metrics` is recorded by all
/// rooms above it.
const WORKER: [Room; 8] = [
    room("records", &[]),
    room("store", &["records"]),
    room("metrics", &["store"]),
    room("projection", &["records", "store"]),
    room("consumer", &["metrics", "records", "store"]),
    room("sync", &["metrics", "projection", "store"]),
    room("queue", &["metrics", "records", "store", "sync"]),
    room("retention", &["metrics", "store"]),
];

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
            let backward = backward_imports(&import_graph(&tree), rooms).into_iter();
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
