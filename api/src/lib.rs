//! Serves the space-scoped reads and commands over HTTP, and administers spaces, people and keys from the command
//! line. What is read was written by the worker; what the providers hold is asked of them only by a trigger or a test.

pub mod auth;
pub mod cli;
mod commands;
pub mod http;
pub mod openapi;
pub mod routes;
mod server;
pub mod state;
pub mod store;
pub mod stream;
mod triggers;

use anyhow::Context;
use cli::{Cli, Command, MigrateConfig};
use platform::db;

/// Runs one command to its end.
///
/// # Errors
/// With one sentence for the person who typed it.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    let outcome = match cli.command {
        Command::Serve(config) => server::serve(*config).await,
        Command::Migrate(config) => migrate(&config).await,
        Command::Admin(command) => commands::run(command, cli.json).await,
    };
    outcome.map_err(|error| match db::advice(error.as_ref()) {
        Some(advice) => error.context(advice),
        None => error,
    })
}

async fn migrate(config: &MigrateConfig) -> anyhow::Result<()> {
    let pool = db::pool(&config.database, cli::APPLICATION)?;
    db::migrate(&pool).await.context("The schema could not be brought up to date")?;
    let granted =
        db::grant(&pool, &config.roles).await.context("The roles could not be granted their rights")?;
    match granted.as_slice() {
        [] => println!("The schema is up to date."),
        roles => println!("The schema is up to date, and open to {}.", roles.join(" and ")),
    }
    Ok(())
}
