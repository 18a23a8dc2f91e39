//! `migrate`: brings the schema up to date and grants the roles their rights.

use anyhow::Context;
use platform::db::{self, DatabaseConfig, Roles};

use crate::APPLICATION_NAME;

/// Migrates the schema and prints the roles that have rights in it.
pub(crate) async fn migrate(database: &DatabaseConfig, roles: &Roles) -> anyhow::Result<()> {
    let pool = db::pool_of_long_statements(database, APPLICATION_NAME)?;
    db::migrate(&pool).await.context("The schema could not be brought up to date")?;
    let granted = db::grant(&pool, roles).await.context("The roles could not be granted their rights")?;
    match granted.as_slice() {
        [] => println!("The schema is up to date."),
        roles => println!("The schema is up to date, and open to {}.", roles.join(" and ")),
    }
    Ok(())
}
