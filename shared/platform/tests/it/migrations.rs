//! Migrations are applied while the previous version runs: which statements they may contain (`rule`), and
//! that the previous version keeps working meanwhile (`upgrade`).

mod rule;
mod statements;
mod upgrade;

use sqlx::migrate::Migrator;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations");
const RELEASED: &str = include_str!("../../../../migrations/RELEASED");
const CHANGELOG: &str = include_str!("../../../../CHANGELOG.md");

/// The content of `RELEASED` before the first release.
const NO_RELEASE: &str = "none";
/// Until the first release, upgrades are tested from this migration: `released.sql` contains the statements
/// of the code at that migration.
const TESTED_FROM: i64 = 7;

/// Returns the last migration of the version that upgrades start from.
fn released() -> i64 {
    match RELEASED.trim() {
        NO_RELEASE => TESTED_FROM,
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
    assert_eq!(has_release, RELEASED.trim() != NO_RELEASE, "CHANGELOG.md and migrations/RELEASED disagree");
}
