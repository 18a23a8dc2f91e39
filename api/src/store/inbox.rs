//! The inbox of a user: what happened to the pipelines they watch and to the runs they triggered. The worker
//! writes it. A user reads the entries of the spaces that they are a member of.

use chrono::{DateTime, Utc};
use contract::ids::{NotificationId, PipelineId, RunId, UserId};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgPool};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, Paging, Rows};

/// The maximum number of entries that one request marks.
pub const MAX_MARKED: usize = 500;

/// An entry of one's inbox.
#[derive(Debug, Serialize, FromRow, ToSchema)]
pub struct Notification {
    #[schema(value_type = Uuid)]
    pub id: NotificationId,
    #[sqlx(json)]
    pub space: NotificationSpace,
    /// A kind of incident, or `run`: a run that one has triggered.
    pub kind: String,
    /// `opened`, `reopened` or `resolved` of an incident; `finished` of a run.
    pub change: String,
    pub incident_id: Option<Uuid>,
    #[schema(value_type = Option<Uuid>)]
    pub pipeline_id: Option<PipelineId>,
    pub pipeline_name: Option<String>,
    #[schema(value_type = Option<Uuid>)]
    pub run_id: Option<RunId>,
    /// One sentence.
    pub summary: String,
    pub created_at: DateTime<Utc>,
    /// Null while it is unread.
    pub read_at: Option<DateTime<Utc>>,
}

/// The space of an entry.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NotificationSpace {
    pub slug: String,
    pub name: String,
}

/// Conditions on entries.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InboxFilter {
    /// Whether to leave out what was read
    #[param(required = false)]
    pub unread: bool,
}

const COLUMNS: &str = "select n.id, jsonb_build_object('slug', s.slug, 'name', s.name) as space, n.kind,
    n.change, n.incident_id, n.pipeline_id, p.name as pipeline_name, n.run_id, n.summary, n.created_at,
    n.read_at";

const FROM: &str = " from inbox n join spaces s on s.id = n.space_id
    join memberships m on m.space_id = n.space_id and m.user_id = n.user_id
    left join pipelines p on p.id = n.pipeline_id and p.space_id = n.space_id
    where n.user_id = ";

/// The order of entries: newest first.
pub const ORDER: ListOrder = ListOrder::by("n.created_at", KeyKind::Time, "n.id").descending();

/// Lists a page of a user's inbox, newest first.
pub async fn list(
    db: &PgPool,
    user: UserId,
    filter: &InboxFilter,
    paging: &Paging,
) -> sqlx::Result<Rows<Notification>> {
    page::read(db, paging, COLUMNS, |sql| {
        sql.push(FROM).push_bind(user);
        if filter.unread {
            sql.push(" and n.read_at is null");
        }
    })
    .await
}

/// Marks entries of a user as read: these, or all up to this time. The ids of others are ignored.
pub async fn mark_read(
    db: &PgPool,
    user: UserId,
    ids: Option<&[NotificationId]>,
    until: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "update inbox set read_at = now() where user_id = $1 and read_at is null
             and case when $2::uuid[] is null then created_at <= $3 else id = any($2) end",
    )
    .bind(user)
    .bind(ids)
    .bind(until)
    .execute(db)
    .await
    .map(drop)
}
