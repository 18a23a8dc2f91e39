//! Enqueueing syncs, and their events: the one place that inserts a sync, for the API and the worker.

use chrono::{DateTime, Utc};
use contract::events::{SyncChanged, SyncRequested};
use contract::ids::{ConnectorId, SpaceId, SyncId, UserId};
use contract::state::SyncTrigger;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::audit::{self, Actor, AuditEvent};
use crate::{outbox, trace};

/// A sync to enqueue.
#[derive(Clone, Debug)]
pub struct NewSync {
    pub id: SyncId,
    pub space_id: SpaceId,
    pub connector_id: ConnectorId,
    pub full: bool,
    pub accept_mass_deletion: bool,
    pub origin: SyncOrigin,
}

/// What requests a sync.
#[derive(Clone, Debug)]
pub enum SyncOrigin {
    /// A tick of the connector's schedule. A tick enqueues one sync at most.
    Schedule { tick_at: DateTime<Utc> },
    /// A run that was triggered through the API.
    FollowUp,
    /// An operator. Audited.
    CommandLine,
    /// A record on the topic of sync requests, requested when it is read: its own time is its sender's claim.
    /// Audited, and an event of the sync is published.
    Kafka,
    /// A user of the API. Audited; the request and an event of the sync are published. A worker accepts the
    /// sync when it reads the request.
    User { user: UserId, space: String, trigger: SyncTrigger },
}

impl SyncOrigin {
    fn trigger(&self) -> SyncTrigger {
        match self {
            Self::Schedule { .. } => SyncTrigger::Schedule,
            Self::FollowUp => SyncTrigger::Trigger,
            Self::CommandLine | Self::Kafka => SyncTrigger::Manual,
            Self::User { trigger, .. } => *trigger,
        }
    }

    fn actor(&self) -> Option<Actor> {
        match self {
            Self::Schedule { .. } | Self::FollowUp => None,
            Self::CommandLine => Some(Actor::CommandLine),
            Self::Kafka => Some(Actor::Kafka),
            Self::User { user, .. } => Some(Actor::User(*user)),
        }
    }

    fn user(&self) -> Option<UserId> {
        if let Self::User { user, .. } = self { Some(*user) } else { None }
    }

    fn tick_at(&self) -> Option<DateTime<Utc>> {
        if let Self::Schedule { tick_at } = self { Some(*tick_at) } else { None }
    }
}

/// Enqueues syncs with the audit entries and events of their origins, within the caller's transaction.
/// Returns how many are new: a sync with the id, or with the connector and the tick, of an existing one is
/// ignored.
pub async fn enqueue(db: &mut PgConnection, syncs: &[NewSync]) -> sqlx::Result<usize> {
    let inserted = insert(db, syncs).await?;
    for (id, requested_at) in &inserted {
        let Some(sync) = syncs.iter().find(|sync| sync.id == *id && sync.origin.actor().is_some()) else {
            continue;
        };
        audit_and_publish(db, sync, *requested_at).await?;
    }
    Ok(inserted.len())
}

async fn insert(db: &mut PgConnection, syncs: &[NewSync]) -> sqlx::Result<Vec<(SyncId, DateTime<Utc>)>> {
    sqlx::query_as(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_by, requested_at, accepted_at, tick_at, traceparent)
           select id, space_id, connector_id, 'queued', trigger, "full", accept_mass_deletion, requested_by,
               case when requested_by is null then now() else clock_timestamp() end,
               case when requested_by is null then now() end, tick_at, $9
           from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bool[], $6::bool[], $7::uuid[],
               $8::timestamptz[])
               as new(id, space_id, connector_id, trigger, "full", accept_mass_deletion, requested_by,
                   tick_at)
           on conflict do nothing returning id, requested_at"#,
    )
    .bind(column(syncs, |sync| sync.id))
    .bind(column(syncs, |sync| sync.space_id))
    .bind(column(syncs, |sync| sync.connector_id))
    .bind(column(syncs, |sync| sync.origin.trigger().to_string()))
    .bind(column(syncs, |sync| sync.full))
    .bind(column(syncs, |sync| sync.accept_mass_deletion))
    .bind(column(syncs, |sync| sync.origin.user()))
    .bind(column(syncs, |sync| sync.origin.tick_at()))
    .bind(trace::current().map(|trace| trace.to_string()))
    .fetch_all(db)
    .await
}

fn column<T>(syncs: &[NewSync], value: impl Fn(&NewSync) -> T) -> Vec<T> {
    syncs.iter().map(value).collect()
}

/// Audits a sync, and publishes what its origin requires.
async fn audit_and_publish(
    db: &mut PgConnection,
    sync: &NewSync,
    requested_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let NewSync { id, space_id, connector_id, full, accept_mass_deletion, .. } = *sync;
    if let Some(actor) = sync.origin.actor() {
        let event = AuditEvent::request_sync(actor, connector_id, id, full, accept_mass_deletion);
        audit::insert(db, space_id, &event).await?;
    }
    if let SyncOrigin::User { space, .. } = &sync.origin {
        let space = space.clone();
        let request =
            SyncRequested { id, connector_id, full, accept_mass_deletion, space, observed_at: requested_at };
        outbox::enqueue(db, &request).await?;
    }
    if matches!(sync.origin, SyncOrigin::Kafka | SyncOrigin::User { .. }) {
        enqueue_sync_events(db, &[id]).await?;
    }
    Ok(())
}

/// Inserts the current state of these syncs into the outbox, within the transaction that changed them.
pub async fn enqueue_sync_events(db: &mut PgConnection, syncs: &[SyncId]) -> sqlx::Result<()> {
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
