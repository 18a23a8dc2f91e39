//! `republish`: for new or emptied topics, the events of what PostgreSQL alone stores.

use platform::db::{self, DatabaseConfig};

use crate::APPLICATION_NAME;
use crate::store::republish::{self, Republished};

/// Puts the current state of governance, comments and incidents into the outbox, from which a worker relays
/// it, and prints how much that is. It can run again after an error, and beside running programs.
pub(crate) async fn republish(database: &DatabaseConfig) -> anyhow::Result<()> {
    let pool = db::pool_of_command(database, APPLICATION_NAME).await?;
    let Republished { pipelines, comments, incidents } = republish::republish(&pool).await?;
    println!(
        "the governance of {pipelines} pipelines, {comments} comments and {incidents} incidents are \
         published again"
    );
    Ok(())
}
