//! The imports between the files of a crate, and the circles among them. A parent module and the modules
//! below it may import each other; the crate's root is the parent of all.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, Macro, UseTree};

use super::CRATES;
use super::source_tree::{ModulePath, SourceTree, is_for_tests};
use crate::checks::rust_sources;

/// The longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 8;

/// Module → the modules whose items it uses, except itself and the crate's root.
pub(super) type ImportGraph = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

/// Returns the imports below one crate root.
pub(super) fn import_graph(tree: &SourceTree) -> ImportGraph {
    let named: BTreeMap<&ModulePath, NamedPaths> =
        tree.modules.iter().map(|(module, file)| (module, NamedPaths::read(module, file))).collect();
    let uses: BTreeMap<&ModulePath, &BTreeMap<String, ModulePath>> =
        named.iter().map(|(module, paths)| (*module, &paths.uses)).collect();
    let edges = named.iter().map(|(module, paths)| {
        let targets = paths.paths.iter().chain(paths.uses.values()).map(|path| owner(path, &uses, 0));
        let others = targets.filter(|target| target != *module && !target.is_empty());
        ((*module).clone(), others.collect())
    });
    edges.collect()
}

/// Returns the module that defines the item at `path`, after following re-exports.
fn owner(
    path: &[String],
    uses: &BTreeMap<&ModulePath, &BTreeMap<String, ModulePath>>,
    depth: usize,
) -> ModulePath {
    let length =
        (0..=path.len()).rev().find(|length| uses.contains_key(&path[..*length].to_vec())).unwrap_or(0);
    let module = path[..length].to_vec();
    let reexported = path.get(length).and_then(|name| uses.get(&module)?.get(name));
    match reexported {
        Some(target) if depth < MAX_REEXPORTS && target.as_slice() != path => {
            let rest = target.iter().chain(&path[length + 1..]).cloned().collect::<Vec<_>>();
            owner(&rest, uses, depth + 1)
        }
        _ => module,
    }
}

/// Returns the groups of modules that reach each other, except groups of one parent and modules below it.
pub(super) fn circles(graph: &ImportGraph) -> Vec<BTreeSet<ModulePath>> {
    let reachable: BTreeMap<&ModulePath, BTreeSet<ModulePath>> =
        graph.keys().map(|module| (module, reach(graph, module))).collect();
    let mut found: BTreeSet<BTreeSet<ModulePath>> = BTreeSet::new();
    for (module, reached) in reachable.iter().filter(|(module, reached)| reached.contains(**module)) {
        let group: BTreeSet<ModulePath> =
            reached.iter().filter(|other| reachable[other].contains(*module)).cloned().collect();
        if !group.iter().any(|parent| group.iter().all(|child| child.starts_with(parent))) {
            found.insert(group);
        }
    }
    found.into_iter().collect()
}

fn reach(graph: &ImportGraph, start: &ModulePath) -> BTreeSet<ModulePath> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![start];
    while let Some(module) = ahead.pop() {
        for next in graph.get(module).into_iter().flatten() {
            if reached.insert(next.clone()) {
                ahead.push(next);
            }
        }
    }
    reached
}

/// The paths of the crate's own items that a file uses, from the crate's root.
#[derive(Default)]
struct NamedPaths {
    /// The module whose items are visited, inline modules included.
    module: ModulePath,
    /// Local name → the path that a `use` of the file binds it to.
    uses: BTreeMap<String, ModulePath>,
    /// The modules that the file declares.
    children: BTreeSet<String>,
    paths: BTreeSet<ModulePath>,
}

impl NamedPaths {
    fn read(module: &ModulePath, file: &syn::File) -> Self {
        let children = file.items.iter().filter_map(|item| match item {
            Item::Mod(child) if child.content.is_none() => Some(child.ident.to_string()),
            _ => None,
        });
        let mut named = Self { module: module.clone(), children: children.collect(), ..Self::default() };
        for item in &file.items {
            if let Item::Use(item) = item {
                named.add_use(&item.tree, &mut Vec::new());
            }
        }
        named.visit_file(file);
        named
    }

    fn add_use(&mut self, tree: &UseTree, before: &mut ModulePath) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_use(&path.tree, before);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(tree, before)),
            UseTree::Name(name) if name.ident == "self" => {
                let local = before.last().cloned();
                self.bind(local, before);
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                self.bind(Some(name.clone()), &with(before, &name));
            }
            UseTree::Rename(rename) => {
                self.bind(Some(rename.rename.to_string()), &with(before, &rename.ident.to_string()));
            }
            UseTree::Glob(_) => self.bind(None, before),
        }
    }

    fn bind(&mut self, local: Option<String>, path: &[String]) {
        let Some(path) = self.path_from_root(path) else { return };
        if let Some(local) = local.filter(|local| local != "_") {
            self.uses.insert(local, path.clone());
        }
        self.paths.insert(path);
    }

    /// Returns the path from the crate's root. `None` for paths of other crates.
    fn path_from_root(&self, path: &[String]) -> Option<ModulePath> {
        let first = path.first()?.as_str();
        let supers = path.iter().take_while(|name| *name == "super").count();
        match first {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some(self.module.iter().chain(&path[1..]).cloned().collect()),
            "super" => {
                let kept = self.module.len().checked_sub(supers)?;
                Some(self.module[..kept].iter().chain(&path[supers..]).cloned().collect())
            }
            child if self.children.contains(child) => Some(self.module.iter().chain(path).cloned().collect()),
            _ => {
                let bound = self.uses.get(first)?;
                Some(bound.iter().chain(&path[1..]).cloned().collect())
            }
        }
    }

    fn add_path(&mut self, path: &[String]) {
        if let Some(path) = self.path_from_root(path) {
            self.paths.insert(path);
        }
    }

    /// Adds the paths in a macro's arguments, which are not parsed: names joined by `::`.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: ModulePath = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.add_path(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                other => {
                    self.add_path(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add_path(&path);
    }
}

fn with(path: &[String], name: &str) -> ModulePath {
    path.iter().cloned().chain([name.to_owned()]).collect()
}

impl<'ast> Visit<'ast> for NamedPaths {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_some() && !is_for_tests(&module.attrs) {
            self.module.push(module.ident.to_string());
            visit::visit_item_mod(self, module);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: ModulePath = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.add_tokens(list.tokens.clone());
        }
    }
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let files = rust_sources();
    let mut found = Vec::new();
    for folder in CRATES {
        for tree in SourceTree::of_crate(folder, &files) {
            let graph = import_graph(&tree);
            found.extend(circles(&graph).iter().map(|circle| describe(folder, &graph, circle)));
        }
    }
    assert!(found.is_empty(), "{} circles\n{}", found.len(), found.join("\n"));
}

/// Returns a circle with its imports, one per line.
fn describe(folder: &str, graph: &ImportGraph, circle: &BTreeSet<ModulePath>) -> String {
    let edges = circle.iter().flat_map(|module| {
        let targets = graph[module].iter().filter(|target| circle.contains(*target));
        targets.map(|target| format!("  {} → {}", module.join("::"), target.join("::")))
    });
    format!("{folder}, {} files:\n{}", circle.len(), edges.collect::<Vec<_>>().join("\n"))
}

/// Returns the import graph of a crate with these files.
pub(super) fn planted(files: &[(&str, &str)]) -> ImportGraph {
    import_graph(&SourceTree::parse(files.iter().copied()))
}

#[test]
fn a_planted_circle_is_found() {
    let ways = [
        "use crate::a::A;",
        "use super::super::a::A;",
        "use crate::{a, c::C}; fn f() { a::f() }",
        "fn f() -> crate::a::A { todo!() }",
        "fn f() { println!(\"{}\", crate::a::f()) }",
        "use crate::Reexported;",
        "#[derive(X)] #[x(with = crate::a::f)] struct B;",
    ];
    for way in ways {
        let root = "mod a; mod b; pub use a::A as Other; pub use crate::a::A as Reexported;";
        let graph = planted(&[
            ("lib.rs", root),
            ("a.rs", "use crate::b::inner::B;"),
            ("b.rs", "mod inner;"),
            ("b/inner.rs", way),
        ]);
        let circle = [vec!["a".to_owned()], vec!["b".to_owned(), "inner".to_owned()]];
        assert_eq!(circles(&graph), [BTreeSet::from(circle)], "{way}");
    }
}

#[test]
fn a_parent_module_and_its_children_may_import_each_other() {
    let graph = planted(&[
        ("lib.rs", "mod a; mod c; use a::A;"),
        ("a.rs", "mod b; use b::B; use crate::c::C;"),
        ("a/b.rs", "use super::A; use crate::c::C;"),
        ("c.rs", "#[cfg(test)] mod tests { use crate::a::A; }"),
    ]);
    assert_eq!(circles(&graph), []);
}

#[test]
fn a_circle_through_a_parent_and_its_child_is_found() {
    let graph = planted(&[
        ("lib.rs", ""),
        ("a.rs", "mod b; use b::B;"),
        ("a/b.rs", "use crate::c::C;"),
        ("c.rs", "use crate::a::A;"),
    ]);
    assert_eq!(circles(&graph).len(), 1);
}
