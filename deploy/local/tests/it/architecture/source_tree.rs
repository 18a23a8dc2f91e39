//! The modules of a crate, parsed, by their path below the crate's root.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Attribute, Item, Meta};

/// A module's path below the crate's root: empty for `lib.rs`.
pub(super) type ModulePath = Vec<String>;

/// The files that one root (`lib.rs` or `main.rs`) reaches. Modules for tests are left out.
pub(super) struct SourceTree {
    pub modules: BTreeMap<ModulePath, syn::File>,
}

impl SourceTree {
    /// The trees of a crate: one for each `lib.rs` and `main.rs` under its `src`. `files` are paths and their
    /// text.
    pub(super) fn of_crate(folder: &str, files: &[(String, String)]) -> Vec<Self> {
        let source = format!("{folder}/src/");
        let inside: Vec<(&str, &str)> = files
            .iter()
            .filter_map(|(path, text)| Some((path.strip_prefix(&source)?, text.as_str())))
            .collect();
        let roots: BTreeSet<&str> = inside.iter().filter_map(|(path, _)| root_folder(path)).collect();
        roots
            .iter()
            .map(|root| {
                let below = inside.iter().filter(|(path, _)| owning_root(path, &roots) == Some(root));
                Self::parse(below.map(|(path, text)| (&path[root.len()..], *text)))
            })
            .collect()
    }

    /// Parses files given by their path below the root's folder.
    pub(super) fn parse<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            modules.insert(module_path(path), file);
        }
        let for_tests: Vec<ModulePath> =
            modules.iter().flat_map(|(path, file)| test_modules(path, file)).collect();
        modules.retain(|path, _| !for_tests.iter().any(|test| path.starts_with(test)));
        Self { modules }
    }
}

/// The folder below `src` whose root this file is, with its final slash.
fn root_folder(path: &str) -> Option<&str> {
    ["lib.rs", "main.rs"].iter().find_map(|name| {
        let folder = path.strip_suffix(name)?;
        (folder.is_empty() || folder.ends_with('/')).then_some(folder)
    })
}

fn owning_root<'a>(path: &str, roots: &'a BTreeSet<&str>) -> Option<&'a &'a str> {
    roots.iter().filter(|root| path.starts_with(**root)).max_by_key(|root| root.len())
}

fn module_path(path: &str) -> ModulePath {
    let mut names: ModulePath = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if names.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
        names.pop();
    }
    names
}

fn test_modules(path: &ModulePath, file: &syn::File) -> Vec<ModulePath> {
    let declared = file.items.iter().filter_map(|item| match item {
        Item::Mod(module) if is_for_tests(&module.attrs) => Some(module.ident.to_string()),
        _ => None,
    });
    declared.map(|name| path.iter().cloned().chain([name]).collect()).collect()
}

/// Whether the attributes contain `#[cfg(test)]`.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}
