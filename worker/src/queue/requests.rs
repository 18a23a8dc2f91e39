//! Sync requests from Kafka: each is stored as a queued sync. Running it is for a runner.

use contract::events::SyncRequested;
use contract::trace::TraceContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use platform::audit::{self, Actor, AuditEvent};
use platform::syncs::enqueue_sync_events;
use platform::trace;
use provider::connector::AIRFLOW;
use sqlx::PgConnection;

use crate::records::{ConsumedRecord, Rejected};
use crate::store::connectors::{self, RequestedConnector};
use crate::store::syncs;

/// Enqueues the requests of a batch within the caller's transaction, and returns those that cannot be
/// accepted.
pub fn apply<'a>(
    db: &'a mut PgConnection,
    records: &'a [ConsumedRecord],
) -> BoxFuture<'a, sqlx::Result<Vec<Rejected>>> {
    async move {
        let mut rejected = Vec::new();
        for (index, record) in records.iter().enumerate() {
            let payload = record.payload.as_deref().unwrap_or_default();
            let error = match serde_json::from_slice(payload) {
                Ok(request) => {
                    let trace = record.trace().unwrap_or_else(|| TraceContext::child(None));
                    trace::scope(Some(trace), accept(db, &request, trace)).await?
                }
                Err(error) => Some(error.to_string()),
            };
            rejected.extend(error.map(|error| Rejected { index, error }));
        }
        Ok(rejected)
    }
    .boxed()
}

/// Accepts a request, new or repeated; returns the reason when it cannot be accepted.
async fn accept(
    db: &mut PgConnection,
    request: &SyncRequested,
    trace: TraceContext,
) -> sqlx::Result<Option<String>> {
    let SyncRequested { id: sync_id, connector_id, full, accept_mass_deletion, .. } = *request;
    let connector = connectors::find_requested(&mut *db, connector_id, sync_id).await?;
    if let Some(reason) = rejection(request, connector) {
        return Ok(Some(reason));
    }
    let accepted = syncs::accept_request(&mut *db, request, &trace.to_string()).await?;
    tracing::info!(%sync_id, %connector_id, full, trace_id = trace.trace_id(), "sync request accepted");
    // The API has stored and audited its own requests. Any other was written to the topic by someone with
    // access to it.
    if let Some((space, true)) = accepted {
        let event = AuditEvent::request_sync(Actor::Kafka, connector_id, sync_id, full, accept_mass_deletion);
        audit::record(db, space, &event).await?;
        enqueue_sync_events(db, &[sync_id]).await?;
    }
    Ok(None)
}

/// Why a request cannot be accepted. One that was stored while its connector was switched on is still
/// accepted.
fn rejection(request: &SyncRequested, connector: Option<RequestedConnector>) -> Option<String> {
    let id = request.connector_id;
    let Some(RequestedConnector { connector_type, is_active, is_stored }) = connector else {
        return Some(format!("there is no connector {id}"));
    };
    if connector_type != AIRFLOW {
        return Some(format!("only Airflow connectors are supported, not {connector_type}"));
    }
    let is_accepted = is_active || is_stored;
    (!is_accepted).then(|| format!("the connector {id} is switched off; set is_active first"))
}
