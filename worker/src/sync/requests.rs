//! Sync requests from Kafka: each is made a durable job, and that is all; running it is for a runner.

use futures::FutureExt;
use futures::future::BoxFuture;
use shared::audit::{self, Act, Actor};
use shared::connector::AIRFLOW;
use shared::events::SyncRequested;
use shared::ids::SpaceId;
use shared::syncs::announce;
use shared::trace::{self, Trace};
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
                    let trace = read.trace().unwrap_or_else(|| Trace::step(None));
                    trace::lead(Some(trace), accept(db, &request, trace)).await?
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
    trace: Trace,
) -> Result<Option<String>, sqlx::Error> {
    let connector: Option<String> =
        sqlx::query_scalar("select connector_type from connectors where id = $1 and deleted_at is null")
            .bind(request.connector_id)
            .fetch_optional(&mut *db)
            .await?;
    match connector.as_deref() {
        None => return Ok(Some(format!("there is no connector {}", request.connector_id))),
        Some(AIRFLOW) => {}
        Some(other) => return Ok(Some(format!("only Airflow connectors are supported, not {other}"))),
    }
    let taken: Option<(SpaceId, bool)> = sqlx::query_as(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_at, accepted_at, traceparent)
           select $1, space_id, id, 'queued', 'manual', $3, $4, least($5, now()), now(), $6 from connectors
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
    tracing::info!(%sync_id, %connector_id, full, trace_id = trace.id(), "a sync is asked for");
    // What the API asked for it has written down itself; the rest came from somebody with access to the topic.
    if let Some((space, true)) = taken {
        let act = Act::request_sync(Actor::Kafka, connector_id, sync_id, full, accept_mass_deletion);
        audit::record(db, space, &act).await?;
        announce(db, &[request.id]).await?;
    }
    Ok(None)
}
