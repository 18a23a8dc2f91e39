//! The version of the programs, with the commit that they were built from.

use std::sync::LazyLock;

/// Returns the version and the commit, as `--version` prints them. A build names its commit by the variable
/// `ORCHESTRATION_COMMIT`, because an image is built without the repository's history.
pub fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| describe(env!("CARGO_PKG_VERSION"), option_env!("ORCHESTRATION_COMMIT")));
    &VERSION
}

fn describe(version: &str, commit: Option<&str>) -> String {
    match commit {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
        _ => format!("{version} (unknown commit)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_its_commit() {
        assert_eq!(describe("1.2.3", Some("4f3a2b1c")), "1.2.3 (4f3a2b1c)");
        assert_eq!(describe("1.2.3", Some("")), "1.2.3 (unknown commit)");
        assert!(version().starts_with(env!("CARGO_PKG_VERSION")));
    }
}
