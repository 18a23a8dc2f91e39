//! What a space decides about its pipelines: owning team, criticality, watchers. It is stored apart from what
//! the provider reports, so that it survives every sync and rebuild.

use contract::ids::{PipelineId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::json;
use sqlx::{FromRow, PgConnection, PgPool};

/// The team and criticality of a pipeline.
#[derive(Default, FromRow)]
struct Governance {
    team_id: Option<TeamId>,
    criticality: Option<Criticality>,
}

/// Finds the governance of a pipeline, locked until the transaction ends.
async fn find_locked(
    db: &mut PgConnection,
    space: SpaceId,
    pipeline: PipelineId,
) -> sqlx::Result<Governance> {
    let query = sqlx::query_as(
        "select team_id, criticality from pipeline_governance
         where pipeline_id = $1 and space_id = $2 for update",
    );
    Ok(query.bind(pipeline).bind(space).fetch_optional(db).await?.unwrap_or_default())
}

/// Sets or clears the owning team of a pipeline. Does nothing when the space has no such pipeline.
pub async fn set_team(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    team: Option<TeamId>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let before = find_locked(&mut tx, space, pipeline).await?.team_id;
    let set = sqlx::query(
        "insert into pipeline_governance (pipeline_id, space_id, team_id)
         select id, space_id, $3 from pipelines where id = $1 and space_id = $2
         on conflict (pipeline_id) do update set team_id = excluded.team_id, updated_at = now()",
    )
    .bind(pipeline)
    .bind(space)
    .bind(team)
    .execute(&mut *tx)
    .await?;
    if set.rows_affected() > 0 && before != team {
        let details = json!({ "from": before, "to": team });
        let event = AuditEvent::new(Actor::User(user), Action::PipelineTeamChanged, pipeline, details);
        audit::insert(&mut tx, space, &event).await?;
    }
    tx.commit().await
}

/// Sets or clears the criticality of a pipeline. Does nothing when the space has no such pipeline.
pub async fn set_criticality(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    criticality: Option<Criticality>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let before = find_locked(&mut tx, space, pipeline).await?.criticality;
    let set = sqlx::query(
        "insert into pipeline_governance (pipeline_id, space_id, criticality)
         select id, space_id, $3 from pipelines where id = $1 and space_id = $2
         on conflict (pipeline_id) do update set criticality = excluded.criticality, updated_at = now()",
    )
    .bind(pipeline)
    .bind(space)
    .bind(criticality)
    .execute(&mut *tx)
    .await?;
    if set.rows_affected() > 0 && before != criticality {
        let details = json!({ "from": before, "to": criticality });
        let event = AuditEvent::new(Actor::User(user), Action::PipelineCriticalityChanged, pipeline, details);
        audit::insert(&mut tx, space, &event).await?;
    }
    tx.commit().await
}

/// Adds a user to the watchers of a pipeline.
pub async fn watch(db: &PgPool, space: SpaceId, pipeline: PipelineId, user: UserId) -> sqlx::Result<()> {
    let query = sqlx::query(
        "insert into pipeline_watches (pipeline_id, user_id, space_id) values ($1, $2, $3)
         on conflict do nothing",
    );
    query.bind(pipeline).bind(user).bind(space).execute(db).await.map(drop)
}

/// Removes a user from the watchers of a pipeline.
pub async fn unwatch(db: &PgPool, space: SpaceId, pipeline: PipelineId, user: UserId) -> sqlx::Result<()> {
    let query =
        sqlx::query("delete from pipeline_watches where pipeline_id = $1 and user_id = $2 and space_id = $3");
    query.bind(pipeline).bind(user).bind(space).execute(db).await.map(drop)
}
