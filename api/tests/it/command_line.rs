//! The API's command line, run as a process.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use testkit::sealing_keys;
use url::Url;

use crate::app::TestApi;

/// The program with these arguments, on this database.
pub(crate) fn command(database_url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestration-api"));
    command.arg("--json").args(arguments).env("DATABASE_URL", database_url);
    command
}

/// Runs a command to its end without blocking the runtime.
pub(crate) async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

impl TestApi {
    /// Runs the command line as the owner of the schema; the JSON that it prints.
    pub(crate) async fn administer(&self, arguments: &[&str]) -> Value {
        let output = run(command(&self.database.url, arguments)).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The shell blocks of a Markdown text.
fn blocks(text: &str) -> Vec<&str> {
    let after = text.split("\n```sh\n").skip(1);
    after.map(|rest| rest.split("\n```").next().unwrap()).collect()
}

#[tokio::test]
async fn the_commands_of_the_page_on_roles_and_keys_succeed() {
    let test = TestApi::new().await;
    test.administer(&["user", "create", "ada@example.org", "--name", "Ada"]).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = std::fs::read_to_string(root.join("deploy/ROLES.md")).unwrap();
    let server = Url::parse(&local::postgres().await.unwrap()).unwrap();
    let psql = local::postgres_program("psql").await.unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_orchestration-api"));
    let folders = [program, &psql].map(|program| program.parent().unwrap().to_path_buf());
    let search_path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&search_path))).unwrap();
    let database = Url::parse(&test.database.url).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.len() >= 5, "{blocks:?}");
    for block in blocks {
        let mut shell = Command::new("sh");
        shell.args(["-euc", block]).current_dir(root).env("PATH", &path);
        shell
            .env("PGHOST", server.host_str().unwrap())
            .env("PGPORT", server.port().unwrap_or(5432).to_string());
        shell.env("PGUSER", server.username()).env("PGPASSWORD", server.password().unwrap_or_default());
        shell.env("PGDATABASE", database.path().trim_start_matches('/'));
        shell.env("DATABASE_URL", &test.database.url).env("ORCHESTRATION_SEALING_KEYS", sealing_keys("ba"));
        let output = run(shell).await;
        assert!(output.status.success(), "{block}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn a_restored_database_gets_higher_observation_versions() {
    let test = TestApi::new().await;
    let next = async || {
        let next = "select nextval('observation_version')";
        sqlx::query_scalar::<_, i64>(next).fetch_one(&test.db).await.unwrap()
    };
    let before = next().await;
    let output = run(command(&test.database.url, &["after-restore"])).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = next().await;
    assert!(after >= before + 1_000_000_000, "{before} {after}");
}

#[test]
fn no_error_of_a_setting_has_its_value() {
    let required =
        ["serve", "--database-url=postgres://x", "--kafka-bootstrap-servers=x:1", "--sealing-keys=x"];
    testkit::assert_hidden_settings::<api::cli::Cli>(&required);
}
