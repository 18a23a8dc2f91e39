//! Migrations run while the version before still works: what they may contain (`rule`), and that the version
//! before goes on working while they are applied (`upgrade`).

mod rule;
mod statements;
mod upgrade;

use sqlx::migrate::Migrator;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");
const RELEASED: &str = include_str!("../../../../migrations/RELEASED");
const CHANGELOG: &str = include_str!("../../../../CHANGELOG.md");

/// What `RELEASED` contains before the first release.
const NOTHING: &str = "none";
/// Until the first release, upgrades are rehearsed from this migration: `released.sql` holds the statements
/// of its time.
const REHEARSED: i64 = 7;

/// The last migration of the version that upgrades start from.
fn released() -> i64 {
    match RELEASED.trim() {
        NOTHING => REHEARSED,
        version => version.parse().unwrap(),
    }
}

#[test]
fn the_released_migration_exists() {
    assert!(MIGRATIONS.version_exists(released()), "migrations/RELEASED");
}

#[test]
fn the_changelog_has_a_release_once_a_migration_is_released() {
    let versions = CHANGELOG.lines().filter_map(|line| line.strip_prefix("## "));
    let has_release = versions.into_iter().any(|version| !version.contains("not yet released"));
    assert_eq!(has_release, RELEASED.trim() != NOTHING, "CHANGELOG.md and migrations/RELEASED disagree");
}
