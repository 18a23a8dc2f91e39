//! The facets of a list of pipelines: how many of them have each status, health, owner, tag, criticality,
//! team and connector.

use contract::ids::{SpaceId, UserId};
use derive_more::Display;
use serde::Serialize;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use strum::{EnumString, VariantArray};
use utoipa::ToSchema;

use super::health::{push_health, push_incidents_of_space};
use super::latest::{LATEST_STATUS, push_latest};
use super::{PipelineQuery, push_health_condition, push_status};

/// The maximum number of values of a facet.
const MAX_VALUES: i64 = 100;

/// A field whose values are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantArray)]
#[display(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(super) enum Facet {
    Status,
    Health,
    Owner,
    Tag,
    Criticality,
    Team,
    Connector,
}

impl Facet {
    /// Returns the rows of `found` with one row for each value. A row without a value has the name null.
    fn values(self) -> &'static str {
        match self {
            Self::Status => "select status as value, status as name",
            Self::Health => "select health as value, health as name",
            Self::Owner => "select coalesce(owner, 'none') as value, owner as name",
            Self::Tag => "select coalesce(tag, 'none') as value, tag as name",
            Self::Criticality => "select coalesce(criticality, 'none') as value, criticality as name",
            Self::Team => "select coalesce(team_id::text, 'none') as value, team_name as name",
            Self::Connector => "select connector_id::text as value, connector_name as name",
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Owner => " from found left join lateral unnest(owners) as owner on true",
            Self::Tag => " from found left join lateral unnest(tags) as tag on true",
            _ => " from found",
        }
    }
}

/// A value of a facet and the number of pipelines that have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct FacetCount {
    /// The value, as the filter takes it; `none` for pipelines without a value.
    pub value: String,
    /// The value as people know it; null for pipelines without a value.
    pub name: Option<String>,
    pub count: i64,
}

/// For each field the number of pipelines by value, the most frequent values first, at most 100 of them. A
/// field is counted under the filters on the other fields.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct PipelineFacets {
    pub status: Vec<FacetCount>,
    pub health: Vec<FacetCount>,
    pub owner: Vec<FacetCount>,
    pub tag: Vec<FacetCount>,
    pub criticality: Vec<FacetCount>,
    pub team: Vec<FacetCount>,
    pub connector: Vec<FacetCount>,
}

#[derive(FromRow)]
struct FacetRow {
    facet: String,
    value: String,
    name: Option<String>,
    count: i64,
}

/// Counts the values of all facets.
pub async fn count_facets(
    db: &PgPool,
    space: SpaceId,
    user: UserId,
    query: &PipelineQuery,
) -> sqlx::Result<PipelineFacets> {
    let mut sql = QueryBuilder::new("");
    push_found(&mut sql, space, user, query);
    sql.push(" select facet, value, name, count from (");
    for facet in Facet::VARIANTS {
        if *facet != Facet::Status {
            sql.push(" union all ");
        }
        push_counts(&mut sql, *facet);
    }
    sql.push(") counted where rank <= ").push_bind(MAX_VALUES).push(" order by facet, rank");
    let mut facets = PipelineFacets::default();
    for row in sql.build_query_as::<FacetRow>().fetch_all(db).await? {
        let counted = FacetCount { value: row.value, name: row.name, count: row.count };
        match row.facet.parse() {
            Ok(Facet::Status) => facets.status.push(counted),
            Ok(Facet::Health) => facets.health.push(counted),
            Ok(Facet::Owner) => facets.owner.push(counted),
            Ok(Facet::Tag) => facets.tag.push(counted),
            Ok(Facet::Criticality) => facets.criticality.push(counted),
            Ok(Facet::Team) => facets.team.push(counted),
            Ok(Facet::Connector) => facets.connector.push(counted),
            Err(error) => return Err(sqlx::Error::Decode(error.into())),
        }
    }
    Ok(facets)
}

/// Adds the pipelines that match the filters without facets, each with the facets whose filter it does not
/// match. One that fails two of them is counted nowhere.
fn push_found(sql: &mut QueryBuilder<Postgres>, space: SpaceId, user: UserId, query: &PipelineQuery) {
    sql.push(
        "with found as materialized (select * from (
             select p.owners, p.tags, g.criticality, g.team_id, t.name as team_name, p.connector_id,
                 c.name as connector_name, ",
    );
    sql.push(LATEST_STATUS).push(" as status, ");
    push_health(sql, LATEST_STATUS);
    sql.push(" as health, array_remove(array[");
    for facet in Facet::VARIANTS {
        if *facet != Facet::Status {
            sql.push(", ");
        }
        sql.push("case when ");
        match facet {
            Facet::Status if !query.status.is_empty() => push_status(sql, &query.status),
            Facet::Health if !query.health.is_empty() => push_health_condition(sql, &query.health),
            facet if query.filter.has(*facet) => query.filter.push_facet(sql, *facet),
            _ => drop(sql.push("true")),
        }
        sql.push(format_args!(" then null else '{facet}' end"));
    }
    sql.push(
        "], null) as failed from pipelines p join connectors c on c.id = p.connector_id
         left join pipeline_governance g on g.pipeline_id = p.id and g.space_id = p.space_id
         left join teams t on t.id = g.team_id",
    );
    push_latest(sql, space);
    push_incidents_of_space(sql, space);
    query.filter.push_without_facets(sql, space, user);
    sql.push(") p where cardinality(failed) <= 1)");
}

fn push_counts(sql: &mut QueryBuilder<Postgres>, facet: Facet) {
    sql.push(format_args!(
        "select '{facet}' as facet, value, name, count(*) as count,
             row_number() over (order by count(*) desc, value, name) as rank
         from ({}{} where failed <@ array['{facet}']) valued group by value, name",
        facet.values(),
        facet.source(),
    ));
}
