//! The audit trail of a space, as its admins read it. It is written by whoever does what it tells of (`platform::audit`).

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{SpaceId, UserId};
use platform::audit::Action;
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::http::pagination::{Paging, Rows};
use crate::openapi::{ActionWord, Moment, Person, ViaWord};

/// Something that somebody did.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    #[schema(value_type = ActionWord)]
    pub action: String,
    /// Null where nobody's key was used.
    #[schema(value_type = Option<Person>)]
    pub actor: Option<UserRef>,
    /// The way it was asked: `api`; `cli` for the command line; `kafka` for the topic of sync requests.
    #[schema(value_type = ViaWord)]
    pub via: String,
    /// What it was done to: the word before the action's dot.
    pub target_type: String,
    pub target_id: Uuid,
    /// What there is to know besides, by action: `from` and `to` of a changed team, criticality or role; `name` and
    /// the names of the `changed` fields of a connector; `sync_id`, `full` and `accept_mass_deletion` of a sync;
    /// `command_id`, `run_id` and `run_external_id` of a trigger; `author_id`, `run_id` and `task_run_id` of a deleted
    /// comment; `user_id` and `label` of a key. Never a secret.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl FromRow<'_, PgRow> for AuditEntry {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let actor = row.try_get::<Option<UserId>, _>("actor_id")?;
        let name = row.try_get::<Option<String>, _>("actor_name")?;
        Ok(Self {
            id: row.try_get("id")?,
            at: row.try_get("at")?,
            action: row.try_get("action")?,
            actor: actor.map(|id| UserRef { id, name: name.unwrap_or_default() }),
            via: row.try_get("via")?,
            target_type: row.try_get("target_type")?,
            target_id: row.try_get("target_id")?,
            details: row.try_get("details")?,
        })
    }
}

/// Which acts. From is inclusive, to is exclusive.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// The id of the person who did it
    #[param(value_type = Option<Uuid>)]
    pub actor_id: Option<UserId>,
    /// What was done; repeated, any of them
    #[param(required = false, value_type = Vec<ActionWord>, inline)]
    pub action: Vec<Action>,
    /// Done then or later: RFC 3339, or a date
    #[param(value_type = Option<Moment>, inline)]
    pub from: Option<DateTime<Utc>>,
    /// Done before then
    #[param(value_type = Option<Moment>, inline)]
    pub to: Option<DateTime<Utc>>,
    /// The id of what it was done to
    pub target_id: Option<Uuid>,
}

/// Some of the acts in a space, newest first.
///
/// # Errors
/// When the database is away.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    filter: &AuditFilter,
    paging: Paging,
) -> sqlx::Result<Rows<AuditEntry>> {
    let mut sql = QueryBuilder::new(
        "select a.id, a.at, a.action, a.actor_id, u.name as actor_name, a.via, a.target_type, a.target_id, a.details
         from audit a left join users u on u.id = a.actor_id",
    );
    push_filter(&mut sql, space, filter);
    sql.push(" order by a.at desc, a.id desc limit ").push_bind(paging.limit());
    sql.push(" offset ").push_bind(paging.offset());
    let rows = sql.build_query_as().fetch_all(db).await?;
    let mut sql = QueryBuilder::new("select count(*) from audit a");
    push_filter(&mut sql, space, filter);
    let total = sql.build_query_scalar().fetch_one(db).await?;
    Ok(Rows { rows, total })
}

fn push_filter(sql: &mut QueryBuilder<Postgres>, space: SpaceId, filter: &AuditFilter) {
    sql.push(" where a.space_id = ").push_bind(space);
    if let Some(actor) = filter.actor_id {
        sql.push(" and a.actor_id = ").push_bind(actor);
    }
    if !filter.action.is_empty() {
        let actions: Vec<String> = filter.action.iter().map(ToString::to_string).collect();
        sql.push(" and a.action = any(").push_bind(actions).push(")");
    }
    if let Some(from) = filter.from {
        sql.push(" and a.at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        sql.push(" and a.at < ").push_bind(to);
    }
    if let Some(target) = filter.target_id {
        sql.push(" and a.target_id = ").push_bind(target);
    }
}
