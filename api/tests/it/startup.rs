//! The start of the programs: a PostgreSQL that is late or has too few connections, and metrics on a port
//! of their own.

use std::process::{Command, Stdio};
use std::time::Duration;

use local::{RoleUrls, TestDatabase};
use testkit::{ApiProcess, eventually, output_of};
use tokio::io::{AsyncBufReadExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::system::SystemSettings;

const TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than a connection that is refused is tried without `--wait`.
const LATENESS: Duration = Duration::from_secs(15);

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn urls(database: &TestDatabase) -> RoleUrls {
    let TestDatabase { url, worker_url, api_url, .. } = database.clone();
    RoleUrls { owner: url, worker: worker_url, api: api_url }
}

/// Forwards connections to the server of a database from now on.
async fn forward(port: u16, url: Url) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let server = (url.host_str().unwrap().to_owned(), url.port().unwrap());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_waits_for_a_postgresql_that_starts_late() {
    let database = local::test_database().await.unwrap();
    let server = Url::parse(&database.url).unwrap();
    let (mut late, port) = (server.clone(), free_port());
    late.set_port(Some(port)).unwrap();
    let mut settings = SystemSettings::new(urls(&database)).await.owner;
    settings.database_url = late.into();
    let refused = output_of(settings.api(&["migrate"]).await).await;
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && message.contains("PostgreSQL does not answer"), "{message}");

    let mut migration = settings.api(&["migrate", "--wait", "300"]).await.spawn().unwrap();
    tokio::time::sleep(LATENESS).await;
    assert!(migration.try_wait().unwrap().is_none(), "it still waits");
    forward(port, server).await;
    let ended = tokio::task::spawn_blocking(move || migration.wait().unwrap());
    let status = tokio::time::timeout(TIMEOUT, ended).await.expect("the migration ends").unwrap();
    assert!(status.success());
}

/// Returns whether a program logs this before the time is over.
async fn logs(command: Command, sentence: &str) -> bool {
    let mut command = tokio::process::Command::from(command);
    let mut program = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
    let logged = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains(sentence) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(TIMEOUT, logged).await.unwrap_or(false)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_warns_when_postgresql_has_too_few_connections_for_its_pools() {
    let database = local::test_database().await.unwrap();
    let name = Url::parse(&database.url).unwrap().path().trim_start_matches('/').to_owned();
    let limit = format!("alter database {name} connection limit 12");
    let admin = sqlx::PgPool::connect(&local::postgres().await.unwrap()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit)).execute(&admin).await.unwrap();
    let settings = SystemSettings::new(urls(&database)).await;
    let serve = ["serve", "--listen", "127.0.0.1:0", "--log-format", "json"];
    let warns = logs(settings.owner.api(&serve).await, "too few connections to PostgreSQL").await;
    assert!(warns, "twenty connections do not fit into twelve");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_with_an_address_of_their_own_are_not_on_that_of_callers() {
    let database = local::test_database().await.unwrap();
    let settings = SystemSettings::new(urls(&database)).await;
    let metrics = format!("127.0.0.1:{}", free_port());
    let api = ApiProcess::start(&settings.owner, &["--metrics-listen", &metrics]).await;
    api.wait_until_ready().await;
    let status = async |address: &str, path: &str| {
        reqwest::get(format!("{address}{path}")).await.map_or(0, |response| response.status().as_u16())
    };
    let metrics = format!("http://{metrics}");
    let is_scraped = async || status(&metrics, "/metrics").await == 200;
    eventually("metrics are served", TIMEOUT, is_scraped).await;
    for (address, path, expected) in [
        (&metrics, "/health", 200),
        (&metrics, "/readyz", 200),
        (&metrics, "/api/v1.0/me", 404),
        (&metrics, "/openapi.json", 404),
        (&api.url, "/metrics", 404),
        (&api.url, "/readyz", 200),
        (&api.url, "/api/v1.0/me", 401),
    ] {
        assert_eq!(status(address, path).await, expected, "{address}{path}");
    }
}
