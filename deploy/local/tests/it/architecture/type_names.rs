//! A type name is unique in the workspace, and does not shadow the standard library, so that a search for it
//! finds one definition.

use std::collections::BTreeMap;

use syn::Item;

use crate::checks::rust_sources;

/// Names that are defined more than once for the same thing.
const SAME_THING: [(&str, &str); 8] = [
    ("Cli", "the command line of a program"),
    ("Dag", "Airflow's DAG, as each version of its REST API sends it"),
    ("DagRun", "Airflow's DAG run, as each version of its REST API sends it"),
    ("DagRunPost", "the body that triggers a DAG run, as each version of Airflow's REST API takes it"),
    ("Tag", "Airflow's tag, as each version of its REST API sends it"),
    ("Task", "Airflow's task, as it is sent and as it is read"),
    ("TaskNode", "a task of a pipeline's graph, in events and in responses"),
    ("TaskInstance", "Airflow's task instance, as it is sent and as it is read"),
];

/// Names of the standard library and of libraries used beside ours that a type of ours would shadow.
const FOREIGN: [&str; 24] = [
    "Any", "Arc", "Box", "Clone", "Command", "Copy", "Default", "Drop", "Duration", "Future", "Instant",
    "Iterator", "Mutex", "Notify", "Option", "Parts", "Path", "Result", "Send", "Stream", "String", "Sync",
    "Url", "Vec",
];

/// The types that a file defines outside functions and macros, inline modules included.
fn defined(items: &[Item]) -> Vec<String> {
    let names = items.iter().flat_map(|item| match item {
        Item::Struct(item) => vec![item.ident.to_string()],
        Item::Enum(item) => vec![item.ident.to_string()],
        Item::Trait(item) => vec![item.ident.to_string()],
        Item::Type(item) => vec![item.ident.to_string()],
        Item::Union(item) => vec![item.ident.to_string()],
        Item::Mod(item) => item.content.iter().flat_map(|(_, items)| defined(items)).collect(),
        _ => Vec::new(),
    });
    names.collect()
}

/// Returns the names that are defined twice, or that shadow a library's.
fn clashes(files: &[(String, String)]) -> Vec<String> {
    let mut paths: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, text) in files {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        for name in defined(&file.items) {
            paths.entry(name).or_default().push(path);
        }
    }
    paths.retain(|name, paths| {
        let is_same = SAME_THING.iter().any(|(same, _)| same == name);
        FOREIGN.contains(&name.as_str()) || (paths.len() > 1 && !is_same)
    });
    paths.iter().map(|(name, paths)| format!("{name}: {}", paths.join(", "))).collect()
}

#[test]
fn a_type_name_is_unique_in_the_workspace() {
    let found = clashes(&rust_sources());
    assert!(found.is_empty(), "{} type names\n{}", found.len(), found.join("\n"));
}

#[test]
fn duplicate_and_shadowing_type_names_are_found() {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let files = [
        file("a.rs", "struct Run; struct Cli; fn f() { struct Local; }"),
        file("b.rs", "mod c { type Run = u8; } enum Cli {} trait Sync {} fn f() { struct Local; }"),
    ];
    assert_eq!(clashes(&files), ["Run: a.rs, b.rs", "Sync: b.rs"]);
}
