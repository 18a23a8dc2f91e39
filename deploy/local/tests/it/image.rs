//! Tests of the Dockerfile and of every shell script: they are linted, and the files that the image copies
//! must exist. Its bills of materials are made with its own command. No image is built, because that needs a
//! container engine.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

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
    for label in ["title", "licenses", "version", "source", "revision"] {
        assert!(image.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
}

/// The digests are those of the day of a release, so that the Dockerfile has none.
#[test]
fn a_release_names_every_base_image_by_the_digest_of_its_tag() {
    let (dockerfile, releasing) = (text(DOCKERFILE), text("RELEASING.md"));
    let argument = |line: &str| Some(line.strip_prefix("ARG ")?.split_once('=')?.0.to_owned());
    let arguments: BTreeSet<String> = dockerfile.lines().filter_map(argument).collect();
    for argument in &arguments {
        assert!(releasing.contains(&format!("--build-arg {argument}=")), "{argument}");
    }
    let images: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(images.len(), 3);
    for image in images {
        let name = image.split(' ').next().unwrap().trim_start_matches("${").trim_end_matches('}');
        let default = format!("\nARG {name}=");
        let (_, tag) = dockerfile.split_once(&default).unwrap_or_else(|| panic!("{image} is no argument"));
        let tag = tag.lines().next().unwrap();
        let pinned = format!("--build-arg {name}=\"$(pin {tag})\"");
        assert!(releasing.contains(&pinned), "RELEASING.md lacks {pinned}");
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

/// The words of the line of the Dockerfile that begins with these, without the continuation.
fn command_of_image(start: &str) -> Vec<String> {
    let dockerfile = text(DOCKERFILE);
    let line = dockerfile.lines().find_map(|line| Some(&line[line.find(start)?..]));
    let line = line.unwrap_or_else(|| panic!("the Dockerfile has no {start}"));
    line.trim_end_matches('\\').split_whitespace().map(str::to_owned).collect()
}

/// Copies what cargo needs to resolve the workspace, because the bills are written beside each manifest.
fn copy_workspace(folder: &Path) {
    for file in files().iter().filter(|file| [".rs", ".toml", ".lock"].iter().any(|end| file.ends_with(end)))
    {
        let target = folder.join(file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(repository().join(file), target).unwrap();
    }
}

/// The components of a bill, as `name version`.
fn components(bill: &str) -> BTreeSet<String> {
    let bill: Value = serde_json::from_str(bill).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    let field = |component: &Value, name: &str| component[name].as_str().unwrap().to_owned();
    let components = bill["components"].as_array().unwrap().iter();
    components.map(|it| format!("{} {}", field(it, "name"), field(it, "version"))).collect()
}

/// The packages of the lock file, as `name version`.
fn locked_packages() -> BTreeSet<String> {
    let lock = text("Cargo.lock");
    let packages = lock.split("\n[[package]]\n").skip(1);
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.unwrap().trim_matches('"').to_owned()
    };
    packages.map(|it| format!("{} {}", field(it, "name"), field(it, "version"))).collect()
}

#[tokio::test]
async fn bills_of_materials_of_the_programs_have_what_the_image_is_built_with() {
    let installed = command_of_image("cargo install");
    let (name, version) = installed.last().unwrap().split_once('@').expect("a version");
    let tool = local::cargo_program(name, version).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    copy_workspace(folder.path());
    let generate = command_of_image("cargo cyclonedx");
    run(Command::new(tool).current_dir(folder.path()).args(&generate[1..])).unwrap();
    let stored = command_of_image("install -D -m 644");
    let bills: Vec<&String> = stored.iter().filter(|word| word.ends_with(".cdx.json")).collect();
    assert_eq!(bills, ["api/orchestration-api.cdx.json", "worker/orchestration-worker.cdx.json"]);
    let locked = locked_packages();
    for bill in bills {
        let found = components(&std::fs::read_to_string(folder.path().join(bill)).unwrap());
        let has = |name: &str| found.iter().any(|it| it.split(' ').next() == Some(name));
        // The last two come with the features of the image.
        for used in ["tokio", "sqlx", "aws-lc-sys", "rdkafka-sys", "openssl-sys", "opentelemetry-otlp"] {
            assert!(has(used), "{bill} lacks {used}: {found:?}");
        }
        for unused in ["wiremock", "insta", "orchestration-testkit"] {
            assert!(!has(unused), "{bill} has {unused}, which only tests use");
        }
        assert!(found.is_subset(&locked), "{:?}", found.difference(&locked));
    }
}

/// The image has the packages installed; here the lock file has to do.
#[test]
fn bill_of_materials_of_the_console_has_what_browsers_get() {
    let generate = command_of_image("npm sbom");
    let arguments: Vec<&String> = generate[1..].iter().take_while(|word| *word != ">").collect();
    let mut npm = Command::new("npm");
    npm.current_dir(repository().join("api/console")).args(arguments).arg("--package-lock-only");
    let found = components(&run(&mut npm).unwrap());
    let has = |name: &str| found.iter().any(|it| it.split(' ').next() == Some(name));
    assert!(has("preact") && has("openapi-fetch") && !has("vite"), "{found:?}");
}
