//! The rules that choose which incidents of a space are reported to which channel.

use chrono::{DateTime, Utc};
use contract::ids::{ChannelId, PipelineId, RuleId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::notifications::INCIDENT_KINDS;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgExecutor, PgPool, QueryBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// The maximum number of rules of a space.
pub const MAX_RULES: i64 = 1_000;

/// The schema of a kind of incident.
pub struct RuleKindWord;

impl PartialSchema for RuleKindWord {
    fn schema() -> RefOr<Schema> {
        contract::openapi::string_enum(&INCIDENT_KINDS)
    }
}

impl ToSchema for RuleKindWord {}

/// A rule: the incidents for which all of its conditions hold are reported to its channel.
#[derive(Clone, Debug, PartialEq, Serialize, FromRow, ToSchema)]
pub struct NotificationRule {
    #[schema(value_type = Uuid)]
    pub id: RuleId,
    #[schema(value_type = Uuid)]
    pub channel_id: ChannelId,
    pub is_active: bool,
    /// Empty for all kinds.
    #[schema(value_type = Vec<RuleKindWord>)]
    pub kinds: Vec<String>,
    #[doc = "The pipeline has this criticality, or a higher one. A stale connector, which has no pipeline,"]
    #[doc = "is not excluded by this condition."]
    pub min_criticality: Option<Criticality>,
    #[schema(value_type = Option<Uuid>)]
    pub team_id: Option<TeamId>,
    pub tag: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    pub pipeline_id: Option<PipelineId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The channel and the conditions of a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RuleTerms {
    pub channel_id: ChannelId,
    pub is_active: bool,
    pub kinds: Vec<String>,
    pub min_criticality: Option<Criticality>,
    pub team_id: Option<TeamId>,
    pub tag: Option<String>,
    pub pipeline_id: Option<PipelineId>,
}

impl From<NotificationRule> for RuleTerms {
    fn from(rule: NotificationRule) -> Self {
        Self {
            channel_id: rule.channel_id,
            is_active: rule.is_active,
            kinds: rule.kinds,
            min_criticality: rule.min_criticality,
            team_id: rule.team_id,
            tag: rule.tag,
            pipeline_id: rule.pipeline_id,
        }
    }
}

/// Why a rule was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleRejection {
    /// The name of what the space does not have.
    NotFound(&'static str),
    TooMany,
}

const COLUMNS: &str = "select r.id, r.channel_id, r.is_active, r.kinds, r.min_criticality, r.team_id, r.tag,
    r.pipeline_id, r.created_at, r.updated_at";

/// The order of rules: the oldest first.
pub const ORDER: ListOrder = ListOrder::by("r.created_at", KeyKind::Time, "r.id");

/// Lists a page of the rules of a space, or of one of its channels.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    channel: Option<ChannelId>,
    paging: &Paging,
) -> sqlx::Result<Rows<NotificationRule>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(" from notification_rules r where r.space_id = ").push_bind(space);
        if let Some(channel) = channel {
            sql.push(" and r.channel_id = ").push_bind(channel);
        }
    })
    .await
}

/// Finds a rule of a space.
pub async fn find(
    db: impl PgExecutor<'_>,
    space: SpaceId,
    rule: RuleId,
) -> sqlx::Result<Option<NotificationRule>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" from notification_rules r where r.space_id = ").push_bind(space);
    sql.push(" and r.id = ").push_bind(rule);
    sql.build_query_as().fetch_optional(db).await
}

/// Inserts a rule, unless it names something that the space does not have.
pub async fn insert(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    terms: &RuleTerms,
) -> sqlx::Result<Result<RuleId, RuleRejection>> {
    let counted = sqlx::query_scalar("select count(*) from notification_rules where space_id = $1");
    let count: i64 = counted.bind(space).fetch_one(&mut *db).await?;
    if count >= MAX_RULES {
        return Ok(Err(RuleRejection::TooMany));
    }
    if let Some(missing) = find_missing(db, space, terms).await? {
        return Ok(Err(missing));
    }
    let id = RuleId(Uuid::now_v7());
    sqlx::query(
        "insert into notification_rules (id, space_id, channel_id, is_active, kinds, min_criticality, team_id,
             tag, pipeline_id)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(id)
    .bind(space)
    .bind(terms.channel_id)
    .bind(terms.is_active)
    .bind(&terms.kinds)
    .bind(terms.min_criticality)
    .bind(terms.team_id)
    .bind(&terms.tag)
    .bind(terms.pipeline_id)
    .execute(&mut *db)
    .await?;
    record(db, space, user, id, Action::RuleCreated, json!(terms)).await?;
    Ok(Ok(id))
}

/// Replaces the terms of a rule, unless they name something that the space does not have.
pub async fn update(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    before: NotificationRule,
    terms: &RuleTerms,
) -> sqlx::Result<Result<(), RuleRejection>> {
    let id = before.id;
    let before = RuleTerms::from(before);
    if before == *terms {
        return Ok(Ok(()));
    }
    if let Some(missing) = find_missing(db, space, terms).await? {
        return Ok(Err(missing));
    }
    sqlx::query(
        "update notification_rules set channel_id = $2, is_active = $3, kinds = $4, min_criticality = $5,
             team_id = $6, tag = $7, pipeline_id = $8, updated_at = now()
         where id = $1",
    )
    .bind(id)
    .bind(terms.channel_id)
    .bind(terms.is_active)
    .bind(&terms.kinds)
    .bind(terms.min_criticality)
    .bind(terms.team_id)
    .bind(&terms.tag)
    .bind(terms.pipeline_id)
    .execute(&mut *db)
    .await?;
    record(db, space, user, id, Action::RuleChanged, json!({"from": before, "to": terms})).await?;
    Ok(Ok(()))
}

/// Deletes a rule; false when the space has no rule with this id.
pub async fn delete(db: &mut PgConnection, space: SpaceId, user: UserId, rule: RuleId) -> sqlx::Result<bool> {
    let Some(before) = find(&mut *db, space, rule).await? else { return Ok(false) };
    let query = sqlx::query("delete from notification_rules where id = $1 and space_id = $2");
    let deleted = query.bind(rule).bind(space).execute(&mut *db).await?;
    if deleted.rows_affected() > 0 {
        record(db, space, user, rule, Action::RuleDeleted, json!(RuleTerms::from(before))).await?;
    }
    Ok(deleted.rows_affected() > 0)
}

/// Returns what of the terms the space does not have. The channel and the team are locked, so that they exist
/// until the transaction ends.
async fn find_missing(
    db: &mut PgConnection,
    space: SpaceId,
    terms: &RuleTerms,
) -> sqlx::Result<Option<RuleRejection>> {
    let (has_channel, has_team, has_pipeline): (bool, bool, bool) = sqlx::query_as(
        "with channel as (select from notification_channels where id = $2 and space_id = $1 for key share),
             team as (select from teams where id = $3 and space_id = $1 for key share)
         select exists (select from channel), $3::uuid is null or exists (select from team),
             $4::uuid is null or exists (select from pipelines where id = $4 and space_id = $1)",
    )
    .bind(space)
    .bind(terms.channel_id)
    .bind(terms.team_id)
    .bind(terms.pipeline_id)
    .fetch_one(db)
    .await?;
    let found = [(has_channel, "Channel"), (has_team, "Team"), (has_pipeline, "Pipeline")];
    Ok(found.into_iter().find(|(exists, _)| !exists).map(|(_, name)| RuleRejection::NotFound(name)))
}

async fn record(
    db: &mut PgConnection,
    space: SpaceId,
    user: UserId,
    rule: RuleId,
    action: Action,
    details: Value,
) -> sqlx::Result<()> {
    audit::insert(db, space, &AuditEvent::new(Actor::User(user), action, rule, details)).await
}
