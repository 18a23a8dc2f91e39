//! Sync requests from Kafka: each is made a durable job, and that is all; running it is for a runner.

use contract::events::SyncRequested;
use contract::ids::SpaceId;
use contract::trace::TraceContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use platform::audit::{self, Actor, AuditEvent};
use platform::syncs::enqueue_sync_events;
use platform::trace;
use provider::connector::AIRFLOW;
use sqlx::PgConnection;

use crate::consume::{Dead, Message};

/// Makes jobs of the requests of a batch; tells which make no sense.
pub fn apply<'a>(
    db: &'a mut PgConnection,
    messages: &'a [Message],
) -> BoxFuture<'a, Result<Vec<Dead>, sqlx::Error>> {
    async move {
        let mut dead = Vec::new();
        for (message, read) in messages.iter().enumerate() {
            let payload = read.payload.as_deref().unwrap_or_default();
            let refused = match serde_json::from_slice(payload) {
                Ok(request) => {
                    let trace = read.trace().unwrap_or_else(|| TraceContext::child(None));
                    trace::scope(Some(trace), accept(db, &request, trace)).await?
                }
                Err(error) => Some(error.to_string()),
            };
            dead.extend(refused.map(|error| Dead { message, error }));
        }
        Ok(dead)
    }
    .boxed()
}

/// Accepts a request, new or known; answers with the reason when it makes no sense.
async fn accept(
    db: &mut PgConnection,
    request: &SyncRequested,
    trace: TraceContext,
) -> Result<Option<String>, sqlx::Error> {
    if let Some(why) = refuse(db, request).await? {
        return Ok(Some(why));
    }
    let taken: Option<(SpaceId, bool)> = sqlx::query_as(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_at, asked_at, accepted_at, traceparent)
           select $1, space_id, id, 'queued', 'manual', $3, $4, least($5, now()), now(), now(), $6 from connectors
           where id = $2
           on conflict (id) do update set accepted_at = now() where syncs.accepted_at is null
           returning space_id, xmax = 0"#,
    )
    .bind(request.id)
    .bind(request.connector_id)
    .bind(request.full)
    .bind(request.accept_mass_deletion)
    .bind(request.observed_at)
    .bind(trace.to_string())
    .fetch_optional(&mut *db)
    .await?;
    let SyncRequested { id: sync_id, connector_id, full, accept_mass_deletion, .. } = *request;
    tracing::info!(%sync_id, %connector_id, full, trace_id = trace.trace_id(), "a sync is asked for");
    // What the API asked for it has written down itself; the rest came from somebody with access to the topic.
    if let Some((space, true)) = taken {
        let act = AuditEvent::request_sync(Actor::Kafka, connector_id, sync_id, full, accept_mass_deletion);
        audit::record(db, space, &act).await?;
        enqueue_sync_events(db, &[request.id]).await?;
    }
    Ok(None)
}

/// Why a request makes no sense. One that was asked for while its connector was switched on is still served.
async fn refuse(db: &mut PgConnection, request: &SyncRequested) -> Result<Option<String>, sqlx::Error> {
    let SyncRequested { id, connector_id, .. } = request;
    let connector: Option<(String, bool)> = sqlx::query_as(
        "select connector_type, is_active or exists (select from syncs where id = $2)
         from connectors where id = $1 and deleted_at is null",
    )
    .bind(connector_id)
    .bind(id)
    .fetch_optional(db)
    .await?;
    Ok(match connector {
        None => Some(format!("there is no connector {connector_id}")),
        Some((kind, _)) if kind != AIRFLOW => {
            Some(format!("only Airflow connectors are supported, not {kind}"))
        }
        Some((_, false)) => {
            Some(format!("the connector {connector_id} is switched off; set is_active first"))
        }
        Some((_, true)) => None,
    })
}
