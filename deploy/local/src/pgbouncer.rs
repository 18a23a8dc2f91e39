//! Debian's PgBouncer before a PostgreSQL on loopback, for tests of connection poolers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use url::Url;

use crate::postgres::ServerFolder;
use crate::process::Stop;
use crate::roles::RoleUrls;
use crate::service::{Launch, LocalService};
use crate::test_database::TestDatabase;
use crate::{paths, tools};

const DEFAULT_PORT: u16 = 16432;

/// Makes sure that a PgBouncer of this name runs before the server of a test's database, in this pool mode:
/// `session`, `transaction` or `statement`. Returns the URLs through it.
pub async fn pgbouncer(name: &str, pool_mode: &str, database: &TestDatabase) -> Result<RoleUrls> {
    let folder = ServerFolder::of(name)?;
    let healthy = async |port| TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    let prepare = async || launch(name, &folder, pool_mode, database).await;
    let port = LocalService::named(name).ensure(prepare, healthy).await?.port;
    Ok(RoleUrls {
        owner: through(&database.url, port)?,
        worker: through(&database.worker_url, port)?,
        api: through(&database.api_url, port)?,
    })
}

async fn launch(
    name: &str,
    folder: &ServerFolder,
    pool_mode: &str,
    database: &TestDatabase,
) -> Result<Launch> {
    let program = tools::program("pgbouncer").await?;
    folder.create()?;
    let port = LocalService::named(name).choose_port(DEFAULT_PORT)?;
    let server = Url::parse(&database.url)?;
    let (host, server_port) = (server.host_str().unwrap_or("127.0.0.1"), server.port().unwrap_or(5432));
    let users = folder.folder.join("users.txt");
    // The settings of a new installation of Debian, but for the addresses, the mode and the passwords. These
    // are in clear, because the pooler itself needs them.
    let settings = format!(
        "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {}\n\
         pool_mode = {pool_mode}\ndefault_pool_size = 40\nmax_client_conn = 400\n",
        users.display()
    );
    write(folder, &users, &user_list(database)?)?;
    let file = folder.folder.join("pgbouncer.ini");
    write(folder, &file, &settings)?;
    let mut command = folder.command(&program);
    command.arg(&file);
    Ok(Launch { command, port, timeout: Duration::from_secs(30), stop: Stop::Leader })
}

fn write(folder: &ServerFolder, file: &Path, text: &str) -> Result<()> {
    paths::write_file(file, text, 0o600)?;
    folder.change_owner(file)
}

/// Returns the users and passwords as PgBouncer reads them.
fn user_list(database: &TestDatabase) -> Result<String> {
    let user = |url: &str| {
        let url = Url::parse(url)?;
        let password = url.password().context("a role has a password")?;
        let password = percent_decode_str(password).decode_utf8()?;
        Ok::<_, anyhow::Error>(format!("\"{}\" \"{password}\"\n", url.username()))
    };
    [&database.url, &database.worker_url, &database.api_url].into_iter().map(|url| user(url)).collect()
}

/// Returns the URL with another port on loopback.
fn through(url: &str, port: u16) -> Result<String> {
    let mut url = Url::parse(url)?;
    if url.set_host(Some("127.0.0.1")).is_err() || url.set_port(Some(port)).is_err() {
        bail!("the URL of the database names no server");
    }
    Ok(url.into())
}
