//! The Dockerfile and every shell script, linted; what the build copies is there. No image is made: that needs an engine.

use std::process::Command;

use crate::checks::{checker, files, repository, run, text};

const DOCKERFILE: &str = "deploy/Dockerfile";

#[tokio::test]
async fn the_dockerfile_has_no_known_fault() {
    let mut hadolint = Command::new(checker("hadolint").await);
    let linted = run(hadolint.current_dir(repository()).args(["--failure-threshold", "info", DOCKERFILE]));
    linted.unwrap_or_else(|complaint| panic!("{complaint}"));
}

#[test]
fn what_the_image_copies_is_there_and_let_through() {
    let let_through: Vec<String> =
        text(".dockerignore").lines().filter_map(|line| Some(line.strip_prefix('!')?.to_owned())).collect();
    let dockerfile = text(DOCKERFILE);
    let mut copied: Vec<&str> = Vec::new();
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        let words: Vec<&str> = line.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        if !line.contains("--from=") {
            copied.extend(&words[..words.len() - 1]);
        }
    }
    for path in &copied {
        assert!(repository().join(path).exists(), "{path} is copied, but there is none");
        assert!(
            let_through.contains(&(*path).to_owned()),
            "{path} is copied, but .dockerignore keeps it out"
        );
    }
    assert!(copied.contains(&"shared") && let_through.len() == copied.len(), "{copied:?} {let_through:?}");
}

#[test]
fn the_image_runs_as_nobody_in_particular() {
    let dockerfile = text(DOCKERFILE);
    let users: Vec<&str> = dockerfile.lines().filter(|line| line.starts_with("USER ")).collect();
    assert_eq!(users, ["USER 10001:10001"]);
}

#[tokio::test]
async fn shell_scripts_have_no_known_fault() {
    let scripts: Vec<String> = files().into_iter().filter(|file| is_shell(file)).collect();
    assert!(
        scripts.contains(&".ci/run".to_owned()) && scripts.contains(&"deploy/ready".to_owned()),
        "{scripts:?}"
    );
    let mut shellcheck = Command::new(checker("shellcheck").await);
    let checked = run(shellcheck.current_dir(repository()).args(scripts));
    checked.unwrap_or_else(|complaint| panic!("{complaint}"));
}

fn is_shell(file: &str) -> bool {
    let start = std::fs::read(repository().join(file)).unwrap_or_default();
    let first =
        String::from_utf8_lossy(&start[..start.len().min(64)]).lines().next().unwrap_or_default().to_owned();
    file.ends_with(".sh") || first.starts_with("#!") && (first.ends_with("bash") || first.ends_with("/sh"))
}
