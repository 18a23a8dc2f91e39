//! Manual syncs from the command line. They do not go through Kafka, so they are accepted at once.

use contract::ids::{ConnectorId, SpaceId, SyncId};
use platform::audit::{self, Actor, AuditEvent};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::syncs::{self, ManualSync};

/// Enqueues a manual sync and audits the request, within the caller's transaction.
pub(crate) async fn enqueue_manual(
    db: &mut PgConnection,
    (connector_id, space_id): (ConnectorId, SpaceId),
    full: bool,
    accept_mass_deletion: bool,
) -> sqlx::Result<SyncId> {
    let id = SyncId(Uuid::now_v7());
    let sync = ManualSync { id, space_id, connector_id, full, accept_mass_deletion };
    syncs::insert_manual(db, &sync).await?;
    let event = AuditEvent::request_sync(Actor::CommandLine, connector_id, id, full, accept_mass_deletion);
    audit::record(db, space_id, &event).await?;
    Ok(id)
}
