//! Migrations run while the version before still works: what they may say (`rule`), and that nobody notices (`upgrade`).

mod rule;
mod statements;
mod upgrade;

use sqlx::migrate::Migrator;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");

/// The last migration of the last release.
fn released() -> i64 {
    include_str!("../../../../../migrations/RELEASED").trim().parse().unwrap()
}
