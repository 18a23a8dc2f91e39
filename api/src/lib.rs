//! Serves the space-scoped reads and commands over HTTP, and administers spaces, users and keys from the
//! command line. The worker writes the read model; this crate contacts a provider only to trigger a run or to
//! test a connector.

pub mod auth;
pub mod cli;
mod commands;
pub mod http;
pub mod openapi;
pub mod routes;
pub mod server;
pub mod state;
pub mod store;
pub mod stream;
mod triggers;

use cli::{ApiCommand, Cli};
use platform::db;

/// The name of this program in logs, and of its connections in PostgreSQL.
const APPLICATION_NAME: &str = "orchestration-api";

/// Runs one command.
///
/// # Errors
/// With one sentence for the person who typed the command.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let outcome = match cli.command {
        ApiCommand::Serve(config) => server::serve(*config).await,
        ApiCommand::Migrate(config) => commands::migrate(&config.database, &config.roles).await,
        ApiCommand::Admin(command) => commands::run(command, cli.json).await,
    };
    outcome.map_err(|error| match db::advice(error.as_ref()) {
        Some(advice) => error.context(advice),
        None => error,
    })
}
