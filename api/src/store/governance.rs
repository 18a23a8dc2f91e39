//! What a space decides about its pipelines: who owns one, how much it matters, who watches it. Kept apart from what
//! the provider says, so that it survives every sync and rebuild.

use contract::ids::{PipelineId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use platform::audit::{self, Action, Actor, AuditEvent};
use serde_json::json;
use sqlx::{FromRow, PgConnection, PgPool};

/// What was decided before.
#[derive(Default, FromRow)]
struct Decided {
    team_id: Option<TeamId>,
    criticality: Option<String>,
}

/// Looks at what is about to be changed, and keeps others from changing it meanwhile.
async fn decided(db: &mut PgConnection, space: SpaceId, pipeline: PipelineId) -> sqlx::Result<Decided> {
    let found = sqlx::query_as(
        "select team_id, criticality from pipeline_governance where pipeline_id = $1 and space_id = $2 for update",
    );
    Ok(found.bind(pipeline).bind(space).fetch_optional(db).await?.unwrap_or_default())
}

/// Gives a pipeline to a team, or to none; nothing happens when the space has no such pipeline.
///
/// # Errors
/// When the database is away.
pub async fn set_team(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    team: Option<TeamId>,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let before = decided(&mut tx, space, pipeline).await?.team_id;
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
        let act = AuditEvent::new(Actor::User(user), Action::PipelineTeamChanged, pipeline, details);
        audit::record(&mut tx, space, &act).await?;
    }
    tx.commit().await
}

/// Says how much a pipeline matters; nothing happens when the space has no such pipeline.
///
/// # Errors
/// When the database is away.
pub async fn set_criticality(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    criticality: Option<Criticality>,
) -> sqlx::Result<()> {
    let criticality = criticality.map(|criticality| criticality.to_string());
    let mut tx = db.begin().await?;
    let before = decided(&mut tx, space, pipeline).await?.criticality;
    let set = sqlx::query(
        "insert into pipeline_governance (pipeline_id, space_id, criticality)
         select id, space_id, $3 from pipelines where id = $1 and space_id = $2
         on conflict (pipeline_id) do update set criticality = excluded.criticality, updated_at = now()",
    )
    .bind(pipeline)
    .bind(space)
    .bind(&criticality)
    .execute(&mut *tx)
    .await?;
    if set.rows_affected() > 0 && before != criticality {
        let details = json!({ "from": before, "to": criticality });
        let act = AuditEvent::new(Actor::User(user), Action::PipelineCriticalityChanged, pipeline, details);
        audit::record(&mut tx, space, &act).await?;
    }
    tx.commit().await
}

/// Makes a person watch a pipeline.
///
/// # Errors
/// When the database is away.
pub async fn watch(db: &PgPool, space: SpaceId, pipeline: PipelineId, user: UserId) -> sqlx::Result<()> {
    let watch = sqlx::query(
        "insert into pipeline_watches (pipeline_id, user_id, space_id) values ($1, $2, $3) on conflict do nothing",
    );
    watch.bind(pipeline).bind(user).bind(space).execute(db).await.map(drop)
}

/// Makes a person no longer watch a pipeline.
///
/// # Errors
/// When the database is away.
pub async fn unwatch(db: &PgPool, space: SpaceId, pipeline: PipelineId, user: UserId) -> sqlx::Result<()> {
    let watch =
        sqlx::query("delete from pipeline_watches where pipeline_id = $1 and user_id = $2 and space_id = $3");
    watch.bind(pipeline).bind(user).bind(space).execute(db).await.map(drop)
}
