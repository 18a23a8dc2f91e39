//! Syncs as the API and the worker share them: the event of a sync is built from its row, in one place.

use sqlx::PgConnection;
use sqlx::types::Json;

use crate::{outbox, trace};
use contract::events::SyncChanged;
use contract::ids::SyncId;

/// Inserts the current state of these syncs into the outbox, within the transaction that changed them.
pub async fn enqueue_sync_events(db: &mut PgConnection, syncs: &[SyncId]) -> Result<(), sqlx::Error> {
    if syncs.is_empty() {
        return Ok(());
    }
    let changed: Vec<(Json<SyncChanged>, Option<String>)> = sqlx::query_as(
        "select to_jsonb(s) || jsonb_build_object(
             'space', spaces.slug,
             'observed_at', coalesce(s.finished_at, s.started_at, s.requested_at),
             'requested_by', case when u.id is not null
                 then jsonb_build_object('id', u.id, 'name', u.name) end),
             s.traceparent
         from syncs s join spaces on spaces.id = s.space_id left join users u on u.id = s.requested_by
         where s.id = any($1) order by s.requested_at, s.id",
    )
    .bind(syncs)
    .fetch_all(&mut *db)
    .await?;
    for (sync, traceparent) in changed {
        let trace = trace::current().or_else(|| traceparent?.parse().ok());
        trace::scope(trace, outbox::enqueue(db, &sync.0)).await?;
    }
    Ok(())
}
