//! `after-restore`: what a database needs that was restored from a backup.

use platform::db::{self, DatabaseConfig};

use crate::APPLICATION_NAME;

/// Advances the sequence of observation versions beyond all that were published since the backup, and prints
/// where it is. Otherwise new observations would be discarded as older than the records in the topics.
pub(crate) async fn after_restore(database: &DatabaseConfig) -> anyhow::Result<()> {
    let pool = db::pool_of_command(database, APPLICATION_NAME).await?;
    let version = db::skip_observation_versions(&pool).await?;
    println!("Observations begin at version {version}.");
    Ok(())
}
