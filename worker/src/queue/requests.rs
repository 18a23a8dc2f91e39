//! Sync requests from Kafka: each is stored as a queued sync. Running it is for a runner.

use contract::events::SyncRequested;
use contract::ids::SpaceId;
use contract::trace::TraceContext;
use futures::FutureExt;
use futures::future::BoxFuture;
use platform::sync_queue::{NewSync, SyncOrigin, enqueue};
use platform::trace;
use provider::connector::ConnectorType;
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
    let SyncRequested { id, connector_id, full, accept_mass_deletion, .. } = *request;
    let connector = connectors::find_requested(&mut *db, connector_id, id).await?;
    let space_id = match check(request, connector) {
        Ok(space_id) => space_id,
        Err(reason) => return Ok(Some(reason)),
    };
    let sync = NewSync { id, space_id, connector_id, full, accept_mass_deletion, origin: SyncOrigin::Kafka };
    if enqueue(&mut *db, &[sync]).await? == 0 {
        // The API has stored and audited its own requests.
        syncs::accept(db, id).await?;
    }
    tracing::info!(sync_id = %id, %connector_id, full, trace_id = trace.trace_id(), "sync request accepted");
    Ok(None)
}

/// Returns the space of the connector, or the reason why the request cannot be accepted. A request that was
/// stored while its connector was switched on is still accepted.
fn check(request: &SyncRequested, connector: Option<RequestedConnector>) -> Result<SpaceId, String> {
    let id = request.connector_id;
    let Some(RequestedConnector { space_id, connector_type, is_active, is_stored }) = connector else {
        return Err(format!("there is no connector {id}"));
    };
    if let ConnectorType::Other(name) = connector_type {
        return Err(format!("only Airflow connectors are supported, not {name}"));
    }
    if !is_active && !is_stored {
        return Err(format!("the connector {id} is switched off; set is_active first"));
    }
    Ok(space_id)
}
