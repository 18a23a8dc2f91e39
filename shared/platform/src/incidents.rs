//! Transitions of incidents, which the worker and the API make: each is recorded for those who send
//! notifications, and published, in the transaction that makes it.

use contract::events::IncidentChanged;
use contract::ids::IncidentId;
use derive_more::Display;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::outbox;

/// A transition of an incident, as `incident_changes` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
#[display(rename_all = "snake_case")]
pub enum IncidentTransition {
    Opened,
    #[display("counted")]
    Increased,
    Acknowledged,
    Muted,
    Resolved,
    Reopened,
}

/// Records the transition of these incidents and puts their events into the outbox, within the transaction
/// that has changed the rows and given each a new version.
pub async fn publish(
    db: &mut PgConnection,
    incidents: &[IncidentId],
    transition: IncidentTransition,
) -> sqlx::Result<()> {
    if incidents.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into incident_changes (incident_id, change)
         select id, $2 from unnest($1::uuid[]) with ordinality as changed (id, position) order by position",
    )
    .bind(incidents)
    .bind(transition.to_string())
    .execute(&mut *db)
    .await?;
    publish_state(db, incidents).await
}

/// Puts the events of incidents into the outbox, within the transaction that has changed the rows. Without a
/// transition, no channel and no watcher is notified.
pub async fn publish_state(db: &mut PgConnection, incidents: &[IncidentId]) -> sqlx::Result<()> {
    if incidents.is_empty() {
        return Ok(());
    }
    let changed: Vec<Json<IncidentChanged>> = sqlx::query_scalar(
        "select jsonb_build_object('id', i.id, 'space', s.slug, 'connector_id', i.connector_id,
             'version', i.version, 'observed_at', i.updated_at, 'pipeline_id', i.pipeline_id,
             'pipeline_name', p.name, 'kind', i.kind, 'status', i.status, 'opened_at', i.opened_at,
             'acknowledged', case when i.acknowledged_at is not null then jsonb_build_object(
                 'by', jsonb_build_object('id', u.id, 'name', u.name), 'at', i.acknowledged_at) end,
             'muted_until', i.muted_until, 'resolved_at', i.resolved_at, 'count', i.count,
             'last_run_id', i.last_run_id, 'summary', i.summary, 'evidence', i.evidence)
         from incidents i
         join spaces s on s.id = i.space_id
         left join pipelines p on p.id = i.pipeline_id
         left join users u on u.id = i.acknowledged_by
         where i.id = any($1) order by i.id",
    )
    .bind(incidents)
    .fetch_all(&mut *db)
    .await?;
    for Json(event) in changed {
        outbox::enqueue(db, &event).await?;
    }
    Ok(())
}
