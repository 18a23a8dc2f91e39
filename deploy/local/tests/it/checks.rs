//! Runs programs from PyPI that check deployment files, and reads files of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the root of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Returns the path of a file in `deploy/local/checks`.
pub(crate) fn asset(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checks").join(name)
}

/// Returns the path of a program that `checks/requirements.txt` installs.
pub(crate) async fn checker(name: &str) -> PathBuf {
    let requirements = asset("requirements.txt");
    let environment = local::python_environment("checks", &["3.12", "3.13", "3.11"], &requirements).await;
    environment.unwrap().join("bin").join(name)
}

/// Runs a command and returns its standard output. The error holds all its output.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(output_text)
    } else {
        Err(output_text + &String::from_utf8_lossy(&output.stderr))
    }
}

/// Returns the paths of all files in the repository that git does not ignore, new ones included.
pub(crate) fn files() -> Vec<String> {
    let mut git = Command::new("git");
    git.current_dir(repository()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let mut files: Vec<String> = run(&mut git).unwrap().lines().map(str::to_owned).collect();
    files.retain(|file| repository().join(file).is_file());
    files.sort();
    files.dedup();
    files
}

/// Returns the paths and texts of all Rust files in the repository.
pub(crate) fn rust_sources() -> Vec<(String, String)> {
    let rust = files().into_iter().filter(|file| Path::new(file).extension().is_some_and(|it| it == "rs"));
    rust.map(|file| (file.clone(), text(&file))).collect()
}

/// Returns the text of a file in the repository.
pub(crate) fn text(file: &str) -> String {
    std::fs::read_to_string(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}
