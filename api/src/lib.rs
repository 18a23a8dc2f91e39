//! Serves the space-scoped reads and commands over HTTP, and administers spaces, people and keys from the command
//! line. What is read was written by the worker; what the providers hold is asked of them only by a trigger or a test.

pub mod access;
mod admin;
pub mod config;
mod connection;
mod edge;
mod error;
mod etag;
pub mod input;
pub mod limit;
pub mod live;
pub mod openapi;
pub mod page;
pub mod routes;
mod serve;
pub mod state;
pub mod store;
mod trigger;

use anyhow::Context;
use config::{Cli, Command};
use shared::db;

/// Runs one command to its end.
///
/// # Errors
/// With one sentence for the person who typed it.
pub async fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(config) => serve::serve(*config).await,
        Command::Migrate(database) => {
            let pool = db::pool(&database, config::APPLICATION).context("DATABASE_URL cannot be read")?;
            db::migrate(&pool).await.context("The schema could not be brought up to date")?;
            println!("The schema is up to date.");
            Ok(())
        }
        Command::Admin(command) => admin::run(command, cli.json).await,
    }
}
