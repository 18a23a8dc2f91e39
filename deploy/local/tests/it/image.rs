//! Tests of the Dockerfile and of every shell script: they are linted, and the files that the image copies
//! must exist. No image is built, because that needs a container engine.

use std::process::Command;

use crate::checks::{checker, files, repository, run, text};

const DOCKERFILE: &str = "deploy/Dockerfile";

#[tokio::test]
async fn dockerfile_passes_the_linter() {
    let mut hadolint = Command::new(checker("hadolint").await);
    let linted = run(hadolint.current_dir(repository()).args(["--failure-threshold", "info", DOCKERFILE]));
    linted.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn files_copied_into_the_image_exist_and_are_not_ignored() {
    let included: Vec<String> =
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
        assert!(repository().join(path).exists(), "{path} is copied, but does not exist");
        assert!(included.contains(&(*path).to_owned()), "{path} is copied, but .dockerignore excludes it");
    }
    assert!(copied.contains(&"shared") && included.len() == copied.len(), "{copied:?} {included:?}");
}

#[test]
fn image_runs_as_an_unprivileged_user() {
    let dockerfile = text(DOCKERFILE);
    let users: Vec<&str> = dockerfile.lines().filter(|line| line.starts_with("USER ")).collect();
    assert_eq!(users, ["USER 10001:10001"]);
}

#[tokio::test]
async fn shell_scripts_pass_the_linter() {
    let scripts: Vec<String> = files().into_iter().filter(|file| is_shell(file)).collect();
    assert!(
        scripts.contains(&".ci/run".to_owned()) && scripts.contains(&"deploy/ready".to_owned()),
        "{scripts:?}"
    );
    let mut shellcheck = Command::new(checker("shellcheck").await);
    let checked = run(shellcheck.current_dir(repository()).args(scripts));
    checked.unwrap_or_else(|error| panic!("{error}"));
}

fn is_shell(file: &str) -> bool {
    let start = std::fs::read(repository().join(file)).unwrap_or_default();
    let first =
        String::from_utf8_lossy(&start[..start.len().min(64)]).lines().next().unwrap_or_default().to_owned();
    file.ends_with(".sh") || first.starts_with("#!") && (first.ends_with("bash") || first.ends_with("/sh"))
}

#[test]
fn image_and_programs_name_the_commit_that_they_were_built_from() {
    let dockerfile = text(DOCKERFILE);
    let (build, image) = dockerfile.split_once("\nFROM ${BASE_IMAGE}\n").unwrap();
    assert!(build.contains("ENV ORCHESTRATION_COMMIT=${COMMIT}\n"), "{build}");
    for label in ["title", "licenses", "revision"] {
        assert!(image.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
}

#[tokio::test]
async fn version_of_a_program_has_the_commit_in_brackets() {
    let programs = local::tested_binaries().await.unwrap();
    for name in ["orchestration-api", "orchestration-worker"] {
        let printed = run(Command::new(programs.join(name)).arg("--version")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(printed.starts_with(&format!("{name} {version} (")) && printed.ends_with(")\n"), "{printed}");
    }
}
