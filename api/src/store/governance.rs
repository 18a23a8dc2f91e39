//! What a space decides about its pipelines: owning team, criticality, watchers. It is stored apart from what
//! the provider reports, so that it survives every sync and rebuild.

use std::collections::HashSet;

use contract::events::GovernanceChanged;
use contract::ids::{PipelineId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::outbox;
use serde_json::{Value, json};
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Postgres};

/// What is to change of a pipeline's governance; the inner option is the new value.
#[derive(Clone, Copy, Default)]
pub struct GovernanceChange {
    pub team: Option<Option<TeamId>>,
    pub criticality: Option<Option<Criticality>>,
}

/// Changes the governance of a pipeline. Does nothing when the space has no such pipeline. The audit log gets
/// an entry for each value that differs.
pub async fn update(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipeline: PipelineId,
    change: GovernanceChange,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    let before = find_changing(&mut tx, space, &[pipeline], change).await?;
    upsert_many(&mut tx, space, &[pipeline], change).await?;
    let values = [
        ("team_id", Action::PipelineTeamChanged, change.team.map(|team| json!(team))),
        ("criticality", Action::PipelineCriticalityChanged, change.criticality.map(|value| json!(value))),
    ];
    for before in before {
        for (name, action, value) in &values {
            if let Some(value) = value.as_ref().filter(|value| **value != before[name]) {
                let details = json!({ "from": before[name], "to": value });
                let event = AuditEvent::new(Actor::User(user), *action, pipeline, details);
                audit::insert(&mut tx, space, &event).await?;
            }
        }
        publish(&mut tx, Some(user), &[pipeline]).await?;
    }
    tx.commit().await
}

/// Changes the governance of those of these pipelines that the space has, and returns their ids. The audit
/// log gets one entry, with the previous values of the pipelines whose values differ.
pub async fn update_many(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    pipelines: &[PipelineId],
    change: GovernanceChange,
) -> sqlx::Result<HashSet<PipelineId>> {
    let mut tx = db.begin().await?;
    let before = find_changing(&mut tx, space, pipelines, change).await?;
    let ids = upsert_many(&mut tx, space, pipelines, change).await?;
    if !before.is_empty() {
        let changed = before.iter().filter_map(|pipeline| pipeline["id"].as_str()?.parse().ok());
        let changed: Vec<PipelineId> = changed.collect();
        let mut details = json!({ "pipelines": before });
        if let Some(team) = change.team {
            details["team_id"] = json!(team);
        }
        if let Some(criticality) = change.criticality {
            details["criticality"] = json!(criticality);
        }
        let event = AuditEvent::new(Actor::User(user), Action::SpacePipelinesChanged, space, details);
        audit::insert(&mut tx, space, &event).await?;
        publish(&mut tx, Some(user), &changed).await?;
    }
    tx.commit().await?;
    Ok(ids.into_iter().collect())
}

/// Returns the pipelines whose governance the change changes, with what it was; locked in the order of their
/// ids until the transaction ends.
async fn find_changing(
    db: &mut PgConnection,
    space: SpaceId,
    pipelines: &[PipelineId],
    change: GovernanceChange,
) -> sqlx::Result<Vec<Value>> {
    let query = sqlx::query_scalar(
        "with locked as materialized (
             select * from pipeline_governance where pipeline_id = any($1) and space_id = $2
             order by pipeline_id for update)
         select jsonb_build_object('id', p.id, 'team_id', g.team_id, 'criticality', g.criticality)
         from pipelines p left join locked g on g.pipeline_id = p.id
         where p.id = any($1) and p.space_id = $2
             and ($3 and g.team_id is distinct from $4 or $5 and g.criticality is distinct from $6)
         order by p.id",
    );
    bind(query, space, pipelines, change).fetch_all(db).await
}

async fn upsert_many(
    db: &mut PgConnection,
    space: SpaceId,
    pipelines: &[PipelineId],
    change: GovernanceChange,
) -> sqlx::Result<Vec<PipelineId>> {
    let query = sqlx::query_scalar(
        "insert into pipeline_governance as g (pipeline_id, space_id, team_id, criticality)
         select id, space_id, case when $3 then $4 end, case when $5 then $6 end
         from pipelines where id = any($1) and space_id = $2 order by id
         on conflict (pipeline_id) do update set
             team_id = case when $3 then $4 else g.team_id end,
             criticality = case when $5 then $6 else g.criticality end, updated_at = now()
         returning pipeline_id",
    );
    bind(query, space, pipelines, change).fetch_all(db).await
}

fn bind<O>(
    query: QueryScalar<'static, Postgres, O, PgArguments>,
    space: SpaceId,
    pipelines: &[PipelineId],
    change: GovernanceChange,
) -> QueryScalar<'static, Postgres, O, PgArguments> {
    query
        .bind(pipelines.to_vec())
        .bind(space)
        .bind(change.team.is_some())
        .bind(change.team.flatten())
        .bind(change.criticality.is_some())
        .bind(change.criticality.flatten())
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

/// Leaves the pipelines of a team without one, and returns their number.
pub(super) async fn clear_team(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
) -> sqlx::Result<usize> {
    let cleared: Vec<PipelineId> = sqlx::query_scalar(
        "update pipeline_governance set team_id = null, updated_at = now()
         where team_id = $1 and space_id = $2 returning pipeline_id",
    )
    .bind(team)
    .bind(space)
    .fetch_all(&mut *db)
    .await?;
    publish(db, actor.user(), &cleared).await?;
    Ok(cleared.len())
}

/// Publishes the governance of the pipelines of a team, whose name has changed.
pub(super) async fn publish_team(
    db: &mut PgConnection,
    actor: Actor,
    space: SpaceId,
    team: TeamId,
) -> sqlx::Result<()> {
    let owned: Vec<PipelineId> = sqlx::query_scalar(
        "select pipeline_id from pipeline_governance where team_id = $1 and space_id = $2
         order by pipeline_id for update",
    )
    .bind(team)
    .bind(space)
    .fetch_all(&mut *db)
    .await?;
    publish(db, actor.user(), &owned).await
}

/// Inserts the governance of these pipelines into the outbox, within the transaction that has changed or
/// locked it, so that the versions of a pipeline grow in the order of the changes.
pub(super) async fn publish(
    db: &mut PgConnection,
    user: Option<UserId>,
    pipelines: &[PipelineId],
) -> sqlx::Result<()> {
    let changed: Vec<Json<GovernanceChanged>> = sqlx::query_scalar(
        "select jsonb_build_object('id', p.id, 'space', s.slug, 'connector_id', p.connector_id,
             'version', nextval('observation_version'), 'observed_at', clock_timestamp(),
             'team', case when t.id is not null then jsonb_build_object('id', t.id, 'name', t.name) end,
             'criticality', g.criticality,
             'changed_by', case when u.id is not null then jsonb_build_object('id', u.id, 'name', u.name) end)
         from pipelines p
         join spaces s on s.id = p.space_id
         left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id
         left join teams t on t.id = g.team_id
         left join users u on u.id = $2
         where p.id = any($1)",
    )
    .bind(pipelines)
    .bind(user)
    .fetch_all(&mut *db)
    .await?;
    for Json(event) in changed {
        outbox::enqueue(db, &event).await?;
    }
    Ok(())
}
