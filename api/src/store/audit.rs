//! Reads the audit log of a space. Each action writes its own entry, through `platform::audit`.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use contract::events::UserRef;
use contract::ids::{SpaceId, UserId};
use platform::audit::Action;
use serde::Serialize;
use serde_json::Value;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, LongList, Paging, Rows};
use super::schema::TimeOrDate;

/// An action of the audit log.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    #[schema(value_type = Action)]
    pub action: String,
    /// Null if no key was used.
    #[sqlx(json(nullable))]
    pub actor: Option<UserRef>,
    /// The way it was asked: `api`; `cli` for the command line; `kafka` for the topic of sync requests.
    #[schema(value_type = AuditChannel)]
    pub via: String,
    /// What it was done to: the word before the action's dot.
    pub target_type: String,
    pub target_id: Uuid,
    #[doc = "What there is to know besides, by action: `from` and `to` of a changed team, criticality or \
             role; `name` and"]
    #[doc = "the names of the `changed` fields of a connector; `sync_id`, `full` and `accept_mass_deletion` \
             of a sync;"]
    #[doc = "`command_id`, `run_id` and `run_external_id` of a trigger; `author_id`, `run_id` and \
             `task_run_id` of a deleted"]
    #[doc = "comment; `user_id` and `label` of a key; the new `team_id` and `criticality` of several \
             pipelines, and as `pipelines` what they were. Never a secret."]
    #[schema(value_type = Object)]
    pub details: Value,
}

/// The schema of the channels through which an action can be requested.
struct AuditChannel;

impl PartialSchema for AuditChannel {
    fn schema() -> RefOr<Schema> {
        contract::openapi::string_enum(&["api", "cli", "kafka"])
    }
}

impl ToSchema for AuditChannel {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ViaWord")
    }
}

/// Conditions on audit entries. `from` is inclusive, `to` is exclusive.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AuditFilter {
    /// The id of the person who did it
    #[param(value_type = Option<Uuid>)]
    pub actor_id: Option<UserId>,
    /// What was done; repeated, any of them
    #[param(required = false, inline)]
    pub action: Vec<Action>,
    /// Done then or later: RFC 3339, or a date
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub from: Option<DateTime<Utc>>,
    /// Done before then
    #[param(value_type = Option<TimeOrDate>, inline)]
    pub to: Option<DateTime<Utc>>,
    /// The id of what it was done to
    pub target_id: Option<Uuid>,
}

const COLUMNS: &str = "select a.id, a.at, a.action, a.via, a.target_type, a.target_id, a.details,
    case when a.actor_id is not null then
        jsonb_build_object('id', a.actor_id, 'name', coalesce(u.name, '')) end as actor";

const ENTRIES: LongList =
    LongList { columns: COLUMNS, table: "audit a", joins: " left join users u on u.id = a.actor_id" };

/// The order of audit entries: newest first.
pub const ORDER: ListOrder = ListOrder::by("a.at", KeyKind::Time, "a.id").descending();

/// Lists a page of the audit entries of a space, newest first.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    filter: &AuditFilter,
    paging: &Paging,
) -> sqlx::Result<Rows<AuditEntry>> {
    page::read_long(db, paging, ENTRIES, |sql| push_filter(sql, space, filter)).await
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
