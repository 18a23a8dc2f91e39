//! `incidents`: the worker opens, counts and resolves them. Each statement returns the incidents that it has
//! changed, whose transitions the caller publishes.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, IncidentId, PipelineId, RunId, SpaceId};
use contract::state::IncidentKind;
use serde::Serialize;
use serde_json::Value;
use sqlx::PgExecutor;
use sqlx::types::Json;
use uuid::Uuid;

/// An incident that is not resolved.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct UnresolvedIncident {
    pub id: IncidentId,
    pub connector_id: ConnectorId,
    pub pipeline_id: Option<PipelineId>,
    pub kind: IncidentKind,
    pub count: i32,
    pub last_run_id: Option<RunId>,
    #[sqlx(json)]
    pub evidence: Value,
}

impl UnresolvedIncident {
    /// The pipeline, or the connector that is stale.
    pub(crate) fn subject(&self) -> Uuid {
        self.pipeline_id.map_or(self.connector_id.0, |pipeline| pipeline.0)
    }
}

/// Finds the unresolved incidents, by subject and kind.
pub(crate) async fn find_unresolved(
    db: impl PgExecutor<'_>,
) -> sqlx::Result<HashMap<(Uuid, IncidentKind), UnresolvedIncident>> {
    let incidents: Vec<UnresolvedIncident> = sqlx::query_as(
        "select id, connector_id, pipeline_id, kind, count, last_run_id, evidence from incidents
         where status <> 'resolved'",
    )
    .fetch_all(db)
    .await?;
    Ok(incidents.into_iter().map(|incident| ((incident.subject(), incident.kind), incident)).collect())
}

/// An incident as its signals describe it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ObservedIncident {
    pub id: IncidentId,
    pub space_id: SpaceId,
    pub connector_id: ConnectorId,
    pub pipeline_id: Option<PipelineId>,
    pub kind: IncidentKind,
    pub opened_at: DateTime<Utc>,
    pub count: i32,
    pub last_run_id: Option<RunId>,
    pub summary: String,
    pub evidence: Value,
}

/// Opens incidents; returns each with whether it is new. One that was resolved before is opened again.
pub(crate) async fn open(
    db: impl PgExecutor<'_>,
    incidents: &[ObservedIncident],
) -> sqlx::Result<Vec<(IncidentId, bool)>> {
    if incidents.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "insert into incidents as i (
             id, space_id, connector_id, pipeline_id, kind, opened_at, count, last_run_id, summary, evidence)
         select * from jsonb_to_recordset($1) as observed (
             id uuid, space_id uuid, connector_id uuid, pipeline_id uuid, kind text, opened_at timestamptz,
             count int, last_run_id uuid, summary text, evidence jsonb)
         on conflict (id) do update set status = 'open', resolved_at = null, acknowledged_at = null,
             acknowledged_by = null, count = greatest(i.count, excluded.count),
             last_run_id = excluded.last_run_id, summary = excluded.summary, evidence = excluded.evidence,
             version = nextval('observation_version'), updated_at = clock_timestamp()
         where i.status = 'resolved'
         returning i.id, i.xmax = 0",
    )
    .bind(Json(incidents))
    .fetch_all(db)
    .await
}

/// Stores what the signals of unresolved incidents say now; returns those that are still unresolved.
pub(crate) async fn update(
    db: impl PgExecutor<'_>,
    incidents: &[ObservedIncident],
) -> sqlx::Result<Vec<IncidentId>> {
    if incidents.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(
        "update incidents i set count = observed.count, last_run_id = observed.last_run_id,
             summary = observed.summary, evidence = observed.evidence,
             version = nextval('observation_version'), updated_at = clock_timestamp()
         from jsonb_to_recordset($1) as observed (
             id uuid, count int, last_run_id uuid, summary text, evidence jsonb)
         where i.id = observed.id and i.status <> 'resolved' returning i.id",
    )
    .bind(Json(incidents))
    .fetch_all(db)
    .await
}

/// Resolves incidents; returns those that were unresolved.
pub(crate) async fn resolve(
    db: impl PgExecutor<'_>,
    incidents: &[IncidentId],
) -> sqlx::Result<Vec<IncidentId>> {
    if incidents.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query_scalar(
        "update incidents set status = 'resolved', resolved_at = clock_timestamp(),
             version = nextval('observation_version'), updated_at = clock_timestamp()
         where id = any($1) and status <> 'resolved' returning id",
    )
    .bind(incidents)
    .fetch_all(db)
    .await
}
