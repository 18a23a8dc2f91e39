//! What a change on its way to the streams needs to know. It is asked for all spaces at once, since one tail serves
//! them all: whose a change is comes back with it.

use contract::ids::{ConnectorId, PipelineId};
use sqlx::PgPool;

use crate::stream::Owner;

/// How far the read model has come on these topics: topic, partition, and the offset that it will apply next.
///
/// # Errors
/// When the database is away.
pub async fn projected(db: &PgPool, topics: &[String]) -> sqlx::Result<Vec<(String, i32, i64)>> {
    sqlx::query_as("select topic, partition, next_offset from projection_offsets where topic = any($1)")
        .bind(topics)
        .fetch_all(db)
        .await
}

/// Whose each of these is, by its connector, and what the space has decided of its pipeline; none for a connector that
/// is not known.
///
/// # Errors
/// When the database is away.
pub async fn owners(
    db: &PgPool,
    of: impl Iterator<Item = (ConnectorId, Option<PipelineId>)>,
) -> sqlx::Result<Vec<Option<Owner>>> {
    let (connectors, pipelines): (Vec<_>, Vec<_>) = of.unzip();
    let mut owners = vec![None; connectors.len()];
    let found: Vec<Placed> = sqlx::query_as(
        "select asked.place, c.space_id, g.team_id, g.criticality
         from unnest($1::uuid[], $2::uuid[]) with ordinality asked(connector_id, pipeline_id, place)
         join connectors c on c.id = asked.connector_id
         left join pipeline_governance g on g.pipeline_id = asked.pipeline_id and g.space_id = c.space_id",
    )
    .bind(connectors)
    .bind(pipelines)
    .fetch_all(db)
    .await?;
    for Placed { place, owner } in found {
        if let Some(slot) = usize::try_from(place - 1).ok().and_then(|place| owners.get_mut(place)) {
            *slot = Some(owner);
        }
    }
    Ok(owners)
}

#[derive(sqlx::FromRow)]
struct Placed {
    place: i64,
    #[sqlx(flatten)]
    owner: Owner,
}
