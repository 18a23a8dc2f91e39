//! Incidents as the API returns them. The worker opens, counts and resolves them; members acknowledge and
//! mute them here.

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{ConnectorId, IncidentId, PipelineId, RunId, SpaceId, UserId};
use contract::state::{IncidentKind, IncidentStatus};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::incidents::{IncidentTransition, publish};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder};
use utoipa::{IntoParams, ToSchema};

use super::page::{self, KeyKind, ListOrder, Paging, Rows};
use super::pipelines::PipelineFilter;
use super::schema::{CriticalityOrNone, IdList, IdOrNone, TimeOrDate};

/// Signals of one pipeline and kind, from the first one until the pipeline is well again.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Incident {
    #[schema(value_type = Uuid)]
    pub id: IncidentId,
    #[schema(value_type = Uuid)]
    pub connector_id: ConnectorId,
    /// Null for `connector_stale`.
    #[schema(value_type = Option<Uuid>)]
    pub pipeline_id: Option<PipelineId>,
    /// Null for `connector_stale`.
    pub pipeline_name: Option<String>,
    pub kind: IncidentKind,
    pub status: IncidentStatus,
    pub opened_at: DateTime<Utc>,
    #[sqlx(json(nullable))]
    pub acknowledged: Option<IncidentAcknowledgement>,
    /// Until when nothing is sent about it.
    pub muted_until: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// How many runs or due times it has counted.
    pub count: i32,
    #[schema(value_type = Option<Uuid>)]
    pub last_run_id: Option<RunId>,
    /// What is wrong, in one sentence.
    pub summary: String,
    /// The numbers that the sentence was made of, by kind.
    #[sqlx(json)]
    #[schema(value_type = Object)]
    pub evidence: Box<RawValue>,
}

/// Who has acknowledged an incident, and when.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Acknowledgement)]
pub struct IncidentAcknowledgement {
    pub by: UserRef,
    pub at: DateTime<Utc>,
}

/// The conditions on incidents. Every condition must hold. A list holds when one of its values does; an empty
/// list always holds.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IncidentFilter {
    /// Any of these
    #[param(required = false, inline)]
    pub status: Vec<IncidentStatus>,
    /// Any of these
    #[param(required = false, inline)]
    pub kind: Vec<IncidentKind>,
    /// Those opened at this time or later
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub opened_from: Option<DateTime<Utc>>,
    /// The conditions on the pipeline: its id, team and criticality.
    #[param(ignore)]
    pub pipelines: PipelineFilter,
}

/// The parameters of the conditions on the pipeline.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its schema is used: the values are read into a filter of pipelines")]
pub struct IncidentPipelineParams {
    /// Any of these pipelines
    #[param(inline)]
    pipeline_id: Option<IdList>,
    /// Any of these teams; `none` for no team
    #[param(inline)]
    team_id: Option<Vec<IdOrNone>>,
    /// Any of these; `none` for no criticality
    #[param(inline)]
    criticality: Option<Vec<CriticalityOrNone>>,
}

/// The order of incidents: the one opened last first.
pub const ORDER: ListOrder = ListOrder::by("i.opened_at", KeyKind::Time, "i.id").descending();

const COLUMNS: &str = "select i.id, i.connector_id, i.pipeline_id, p.name as pipeline_name, i.kind, i.status,
    i.opened_at, case when i.acknowledged_at is not null then jsonb_build_object(
        'by', jsonb_build_object('id', u.id, 'name', u.name), 'at', i.acknowledged_at) end as acknowledged,
    i.muted_until, i.resolved_at, i.count, i.last_run_id, i.summary, i.evidence";

const FROM: &str = " from incidents i
    left join pipelines p on p.id = i.pipeline_id and p.space_id = i.space_id
    left join pipeline_governance g on g.pipeline_id = i.pipeline_id and g.space_id = i.space_id
    left join users u on u.id = i.acknowledged_by
    where i.space_id = ";

/// Lists a page of the incidents of a space.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    filter: &IncidentFilter,
    paging: &Paging,
) -> sqlx::Result<Rows<Incident>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(FROM).push_bind(space);
        filter.push(sql);
    })
    .await
}

impl IncidentFilter {
    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        if !self.status.is_empty() {
            let words: Vec<String> = self.status.iter().map(ToString::to_string).collect();
            sql.push(" and i.status = any(").push_bind(words).push(")");
        }
        if !self.status.is_empty() && !self.status.contains(&IncidentStatus::Resolved) {
            // Spelled out, because only then PostgreSQL uses the partial index.
            sql.push(" and i.status <> 'resolved'");
        }
        if !self.kind.is_empty() {
            let words: Vec<String> = self.kind.iter().map(ToString::to_string).collect();
            sql.push(" and i.kind = any(").push_bind(words).push(")");
        }
        if let Some(from) = self.opened_from {
            sql.push(" and i.opened_at >= ").push_bind(from);
        }
        if !self.pipelines.ids.is_empty() {
            sql.push(" and i.pipeline_id = any(").push_bind(self.pipelines.ids.clone()).push(")");
        }
        self.pipelines.push_governance(sql);
    }
}

/// Finds one incident of a space.
pub async fn find(db: &PgPool, space: SpaceId, incident: IncidentId) -> sqlx::Result<Option<Incident>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(FROM).push_bind(space).push(" and i.id = ").push_bind(incident);
    sql.build_query_as().fetch_optional(db).await
}

/// What became of a change of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentChange {
    /// It is as was asked for, possibly since before.
    Done,
    NotFound,
    Resolved,
}

/// Finds the status of an incident, locked until the transaction ends.
async fn find_locked(
    db: &mut PgConnection,
    space: SpaceId,
    incident: IncidentId,
) -> sqlx::Result<Option<IncidentStatus>> {
    sqlx::query_scalar("select status from incidents where id = $1 and space_id = $2 for update")
        .bind(incident)
        .bind(space)
        .fetch_optional(db)
        .await
}

/// Acknowledges an open incident. One that is acknowledged already keeps who did it.
pub async fn acknowledge(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    incident: IncidentId,
) -> sqlx::Result<IncidentChange> {
    let mut tx = db.begin().await?;
    match find_locked(&mut tx, space, incident).await? {
        None => return Ok(IncidentChange::NotFound),
        Some(IncidentStatus::Resolved) => return Ok(IncidentChange::Resolved),
        Some(IncidentStatus::Acknowledged) => return Ok(IncidentChange::Done),
        Some(IncidentStatus::Open) => {}
    }
    sqlx::query(
        "update incidents set status = 'acknowledged', acknowledged_at = clock_timestamp(),
             acknowledged_by = $2, version = nextval('observation_version'), updated_at = clock_timestamp()
         where id = $1",
    )
    .bind(incident)
    .bind(user)
    .execute(&mut *tx)
    .await?;
    let event = AuditEvent::new(Actor::User(user), Action::IncidentAcknowledged, incident, json!({}));
    audit::insert(&mut tx, space, &event).await?;
    publish(&mut tx, &[incident], IncidentTransition::Acknowledged).await?;
    tx.commit().await?;
    Ok(IncidentChange::Done)
}

/// Mutes an unresolved incident until a time, or not any more.
pub async fn mute(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    incident: IncidentId,
    until: Option<DateTime<Utc>>,
) -> sqlx::Result<IncidentChange> {
    let mut tx = db.begin().await?;
    match find_locked(&mut tx, space, incident).await? {
        None => return Ok(IncidentChange::NotFound),
        Some(IncidentStatus::Resolved) => return Ok(IncidentChange::Resolved),
        Some(IncidentStatus::Open | IncidentStatus::Acknowledged) => {}
    }
    let muted = sqlx::query(
        "update incidents set muted_until = $2, version = nextval('observation_version'),
             updated_at = clock_timestamp()
         where id = $1 and muted_until is distinct from $2",
    )
    .bind(incident)
    .bind(until)
    .execute(&mut *tx)
    .await?;
    if muted.rows_affected() > 0 {
        let details = json!({ "until": until });
        let event = AuditEvent::new(Actor::User(user), Action::IncidentMuted, incident, details);
        audit::insert(&mut tx, space, &event).await?;
        publish(&mut tx, &[incident], IncidentTransition::Muted).await?;
    }
    tx.commit().await?;
    Ok(IncidentChange::Done)
}
