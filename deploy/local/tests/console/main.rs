//! Tests of the web console in a browser: the worker and the API run as processes on a separate database and
//! separate topics, mirror a real Airflow, and Chromium opens the pages. What the browser does and expects is
//! in `api/console/tests`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod system;

use std::path::{Path, PathBuf};
use std::process::Command;

use system::ConsoleSystem;

/// Set to take a picture of every page, and to update those that the documents show.
const UPDATE_PICTURES: &str = "UPDATE_PICTURES";
/// A word that the names of the files have whose tests are run; without it, all are.
const CONSOLE_TESTS: &str = "CONSOLE_TESTS";
/// The pictures that the documents show.
const SHOWN: [&str; 4] = ["now-wide-light", "pipelines-wide-light", "pipeline-wide-dark", "run-wide-light"];

#[tokio::test(flavor = "multi_thread")]
async fn people_work_with_the_console_in_a_browser() {
    let folder = local::console().await.unwrap();
    let system = ConsoleSystem::start().await;
    let mut tests = vec!["--test".to_owned(), "--test-concurrency=1".to_owned()];
    tests.extend(test_files(&folder));
    node(&system, &folder, &tests).await;
    if std::env::var_os(UPDATE_PICTURES).is_some() {
        update_pictures(&system, &folder).await;
    }
}

/// Runs node with these arguments in the folder of the console. The test fails if node does.
async fn node(system: &ConsoleSystem, folder: &Path, arguments: &[String]) {
    let mut node = Command::new("node");
    node.current_dir(folder).args(arguments).envs(system.environment());
    node.env("CHROMIUM", browser().await);
    let output = tokio::task::spawn_blocking(move || node.output().unwrap()).await.unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{report}\n{errors}\n{}", system.logs());
}

/// Returns the browser: the one of the variable `CHROMIUM`, else the system's, which root installs if needed.
async fn browser() -> PathBuf {
    match std::env::var_os("CHROMIUM") {
        Some(path) => path.into(),
        None => local::program("chromium").await.unwrap(),
    }
}

/// Returns the files of the browser's tests, sorted.
fn test_files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("tests")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let wanted = std::env::var(CONSOLE_TESTS).unwrap_or_default();
    let mut files: Vec<String> =
        names.filter(|name| name.ends_with(".test.mjs") && name.contains(&wanted)).collect();
    assert!(!files.is_empty());
    files.sort();
    files.into_iter().map(|name| format!("tests/{name}")).collect()
}

async fn update_pictures(system: &ConsoleSystem, folder: &Path) {
    let all = folder.join("pictures/all");
    node(system, folder, &["tests/pictures.mjs".to_owned(), all.display().to_string()]).await;
    for name in SHOWN {
        let file = format!("{name}.png");
        std::fs::copy(all.join(&file), folder.join("pictures").join(&file)).unwrap();
    }
}
