//! The space that a change in the event stream belongs to. One query serves the changes of all spaces,
//! because one tail reads for all of them; each result names its space.

use contract::ids::{ConnectorId, PipelineId, SpaceId, TeamId};
use contract::state::Criticality;
use sqlx::{FromRow, PgPool};

/// The space of a change, and the governance of its pipeline.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct ChangeOwner {
    pub space_id: SpaceId,
    pub team_id: Option<TeamId>,
    pub criticality: Option<Criticality>,
}

#[derive(FromRow)]
struct OwnerRow {
    /// The position in the request, from 1.
    position: i64,
    #[sqlx(flatten)]
    owner: ChangeOwner,
}

/// Lists the owners of these changes, in the order of the changes; none where the connector does not exist.
pub async fn list_owners(
    db: &PgPool,
    changes: impl Iterator<Item = (ConnectorId, Option<PipelineId>)>,
) -> sqlx::Result<Vec<Option<ChangeOwner>>> {
    let (connectors, pipelines): (Vec<_>, Vec<_>) = changes.unzip();
    let mut owners = vec![None; connectors.len()];
    let rows: Vec<OwnerRow> = sqlx::query_as(
        "select change.position, c.space_id, g.team_id, g.criticality
         from unnest($1::uuid[], $2::uuid[]) with ordinality change(connector_id, pipeline_id, position)
         join connectors c on c.id = change.connector_id
         left join pipeline_governance g on g.pipeline_id = change.pipeline_id and g.space_id = c.space_id",
    )
    .bind(connectors)
    .bind(pipelines)
    .fetch_all(db)
    .await?;
    for OwnerRow { position, owner } in rows {
        if let Some(slot) = usize::try_from(position - 1).ok().and_then(|index| owners.get_mut(index)) {
            *slot = Some(owner);
        }
    }
    Ok(owners)
}
