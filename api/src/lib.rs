//! Serves the space-scoped reads and commands over HTTP, and administers spaces, users and keys from the
//! command line. The worker writes the read model; this crate contacts a provider only to trigger a run or to
//! test a connector.

pub mod auth;
pub mod cli;
mod commands;
mod console;
pub mod http;
pub mod oidc;
pub mod openapi;
pub mod read_queue;
pub mod readiness;
pub mod routes;
pub mod server;
pub mod state;
pub mod store;
pub mod stream;
mod triggers;

use std::time::Duration;

use cli::{ApiCommand, Cli};
use platform::db;

/// The name of this program in logs, and of its connections in PostgreSQL.
const APPLICATION_NAME: &str = "orchestration-api";
/// The name of the connections that requests do not use.
const CONTROL_APPLICATION_NAME: &str = "orchestration-api-control";

/// Runs one command.
///
/// # Errors
/// With one sentence for the person who typed the command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let outcome = match cli.command {
        ApiCommand::Serve(config) => server::serve(*config).await,
        ApiCommand::AfterRestore(database) => commands::after_restore(&database).await,
        ApiCommand::Republish(database) => commands::republish(&database).await,
        ApiCommand::Migrate(config) => {
            let wait = Duration::from_secs(config.wait.into());
            commands::migrate(&config.database, &config.roles, wait).await
        }
        ApiCommand::Admin(command) => commands::run(command, cli.json).await,
    };
    outcome.map_err(|error| match db::advice(error.as_ref()) {
        Some(advice) => error.context(advice),
        None => error,
    })
}
