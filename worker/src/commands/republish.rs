//! Publishes once more what the providers still have, for new or emptied topics: what was published is
//! forgotten, and every connector gets a full sync. The read model stays as it is meanwhile.

use platform::db;
use provider::connector::AIRFLOW;
use uuid::Uuid;

use super::{FULL_SYNC_SPACING, FULL_SYNCS_WITHIN};
use crate::cli::RepublishArgs;
use crate::store::connector_state;
use crate::store::fingerprints::{self, EntityTable};

/// Few enough rows that the projection waits only briefly for their locks.
const BATCH: i64 = 2_000;

/// Forgets what was published, requests a full sync of every connector, and prints how many. It can run again
/// after an error, and beside running workers.
pub async fn republish(args: &RepublishArgs) -> anyhow::Result<()> {
    let pool = db::pool_of_command(&args.settings.database, "orchestration-worker").await?;
    let mut forgotten = 0;
    for table in EntityTable::ALL {
        let mut after = Uuid::nil();
        while let Some((last, rows)) = fingerprints::forget(&pool, table, after, BATCH).await? {
            (after, forgotten) = (last, forgotten + rows);
        }
    }
    connector_state::forget_published(&pool).await?;
    let (spacing, within) = (FULL_SYNC_SPACING, FULL_SYNCS_WITHIN);
    let requested = connector_state::schedule_full_syncs(&pool, AIRFLOW, spacing, within).await?;
    println!(
        "{requested} full syncs asked for; of {forgotten} pipelines, runs and task runs, what they read is \
         published again"
    );
    Ok(())
}
