//! The rules of the source tree, checked on the parsed sources: imports without circles and in one direction,
//! unique type names, sizes, and the vocabulary. `CONTRIBUTING.md` explains the rules.

mod directions;
mod imports;
mod manifests;
mod sizes;
mod source_tree;
mod type_names;
mod unsafe_code;
mod vocabulary;

/// The folders of the workspace's crates.
const CRATES: [&str; 8] = [
    "shared/contract",
    "shared/provider",
    "shared/platform",
    "worker",
    "api",
    "deploy/local",
    "deploy/testkit",
    "deploy/bench",
];
