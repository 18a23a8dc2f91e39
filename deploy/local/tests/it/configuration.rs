//! `deploy/CONFIGURATION.md`, generated from the `--help` of both programs, and the flags and metrics of
//! earlier versions, which must not be removed.
//!
//! `UPDATE_CONFIGURATION=1 cargo test -p orchestration-local --test it configuration` rewrites the page.

mod help;
mod page;

use std::path::Path;
use std::process::Command;

use crate::checks::{repository, rust_sources, text};

use help::HelpPage;

const PAGE: &str = "deploy/CONFIGURATION.md";
/// A program, its command and a flag per line. Only additions are allowed.
const FLAGS: &str = include_str!("configuration/flags.txt");
/// A program, a metric's name and its type per line. Only additions are allowed. The tests of monitoring
/// compare the list with the metrics of running programs.
const METRICS: &str = include_str!("configuration/metrics.txt");

#[tokio::test]
async fn configuration_page_matches_help() {
    let programs = local::tested_binaries().await.unwrap();
    let pages = ["orchestration-api", "orchestration-worker"].map(|name| HelpPage::read(&programs, name));
    let written = page::write(&pages.concat());
    if std::env::var_os("UPDATE_CONFIGURATION").is_some() {
        std::fs::write(repository().join(PAGE), &written).unwrap();
    }
    let update = "UPDATE_CONFIGURATION=1 cargo test -p orchestration-local --test it configuration";
    assert!(text(PAGE) == written, "{PAGE} differs from --help: {update}");
}

#[tokio::test]
async fn flags_of_earlier_versions_are_accepted() {
    let programs = local::tested_binaries().await.unwrap();
    for line in FLAGS.lines() {
        let message = argument_error(&programs, line);
        assert!(!message.contains("unexpected argument"), "{line}: {message}");
    }
    let unknown = argument_error(&programs, "orchestration-worker run --no-such-flag");
    assert!(unknown.contains("unexpected argument"), "{unknown}");
}

/// Returns the error of a command with one flag without a value. `--help` prevents the command from running.
fn argument_error(programs: &Path, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = Command::new(programs.join(words.next().unwrap()));
    let output = command.args(words).arg("--help").output().unwrap();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn metrics_of_earlier_versions_are_named_in_the_code() {
    let sources = rust_sources();
    for line in METRICS.lines() {
        let name = line.split(' ').nth(1).unwrap();
        let is_named = sources.iter().any(|(_, text)| text.contains(&format!("\"{name}\"")));
        assert!(is_named, "no code names the metric {name}");
    }
}
