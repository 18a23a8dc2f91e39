//! Syncs: requesting them, and reading their state and result. The worker runs them.

use chrono::{DateTime, Utc};
use contract::events::{SyncReport, UserRef};
use contract::ids::{ConnectorId, SpaceId, SyncId, UserId};
use contract::state::{SyncStatus, SyncTrigger};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::sync_queue::{NewSync, SyncOrigin, enqueue, enqueue_sync_events};
use provider::connector::ConnectorType;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::page::{self, KeyKind, ListOrder, LongList, Paging, Rows, push_words};

/// A sync of a connector.
#[derive(Debug, Serialize, FromRow, ToSchema)]
#[schema(as = Sync)]
pub struct SyncView {
    #[schema(value_type = Uuid)]
    pub id: SyncId,
    #[schema(value_type = Uuid)]
    pub connector_id: ConnectorId,
    pub status: SyncStatus,
    pub trigger: SyncTrigger,
    /// Whether the whole history was to be read again.
    pub full: bool,
    #[sqlx(json(nullable))]
    pub requested_by: Option<UserRef>,
    pub requested_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// What an operator can do about it, in one sentence.
    pub error: Option<String>,
    #[sqlx(json)]
    pub report: SyncReport,
}

const COLUMNS: &str = r#"select s.id, s.connector_id, s.status, s.trigger, s."full",
    case when u.id is not null then jsonb_build_object('id', u.id, 'name', u.name) end as requested_by,
    s.requested_at, s.started_at, s.finished_at, s.error, s.report "#;

const SYNCS: LongList =
    LongList { columns: COLUMNS, table: "syncs s", joins: " left join users u on u.id = s.requested_by" };

/// The order of syncs: newest first.
pub const ORDER: ListOrder = ListOrder::by("s.requested_at", KeyKind::Time, "s.id").descending();

/// Conditions on syncs.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SyncFilter {
    #[param(required = false, inline)]
    pub status: Vec<SyncStatus>,
    #[param(required = false, inline)]
    pub trigger: Vec<SyncTrigger>,
    /// Only those that published something or failed, or only the others
    pub changed: Option<bool>,
}

/// The condition that a sync published something or failed. The indexes have this expression.
const CHANGED: &str = "(s.status = 'failed' or coalesce((s.report->>'events_published')::bigint, 0) > 0)";

impl SyncFilter {
    /// Adds the conditions. Words are part of the statement, because only then PostgreSQL uses partial
    /// indexes.
    fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        push_words(sql, "s.status", &self.status);
        push_words(sql, "s.trigger", &self.trigger);
        if let Some(changed) = self.changed {
            sql.push(format_args!(" and {}{CHANGED}", if changed { "" } else { "not " }));
        }
    }
}

/// Lists a page of the syncs of a connector, or of all connectors of the space, newest first.
pub async fn list(
    db: &PgPool,
    space: SpaceId,
    connector: Option<ConnectorId>,
    filter: &SyncFilter,
    paging: &Paging,
) -> sqlx::Result<Rows<SyncView>> {
    page::read_long(db, paging, SYNCS, |sql| {
        sql.push(" where s.space_id = ").push_bind(space);
        if let Some(connector) = connector {
            sql.push(" and s.connector_id = ").push_bind(connector);
        }
        filter.push(sql);
    })
    .await
}

/// Finds one sync of a connector.
pub async fn find(
    db: &PgPool,
    space: SpaceId,
    connector: ConnectorId,
    sync: SyncId,
) -> sqlx::Result<Option<SyncView>> {
    let mut sql = SYNCS.select();
    sql.push(" where s.id = ").push_bind(sync);
    sql.push(" and s.connector_id = ").push_bind(connector).push(" and s.space_id = ").push_bind(space);
    sql.build_query_as().fetch_optional(db).await
}

/// Lists the sync of each of these connectors that began last: the one that runs, or else the one that ended
/// last. A connector of which none has begun has no row.
pub async fn list_begun(db: &PgPool, connectors: &[ConnectorId]) -> sqlx::Result<Vec<SyncView>> {
    list_one_each(
        db,
        connectors,
        "((select s.* from sync_queue q join syncs s on s.id = q.sync_id
           where q.connector_id = requested.connector_id and s.status = 'running'
           order by s.started_at desc, s.id desc limit 1)
          union all
          (select * from syncs where syncs.connector_id = requested.connector_id
               and finished_at is not null and started_at is not null
           order by finished_at desc, id desc limit 1)
          order by started_at desc, id desc limit 1)",
    )
    .await
}

/// Lists the sync of each of these connectors that was requested last of those that are queued.
pub async fn list_queued(db: &PgPool, connectors: &[ConnectorId]) -> sqlx::Result<Vec<SyncView>> {
    list_one_each(
        db,
        connectors,
        "(select s.* from sync_queue q join syncs s on s.id = q.sync_id
          where q.connector_id = requested.connector_id and s.status = 'queued'
          order by s.requested_at desc, s.id desc limit 1)",
    )
    .await
}

/// Lists a sync for each of these connectors, which `select` selects for `requested.connector_id`.
async fn list_one_each(
    db: &PgPool,
    connectors: &[ConnectorId],
    select: &'static str,
) -> sqlx::Result<Vec<SyncView>> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("from unnest(").push_bind(connectors.to_vec());
    sql.push(") as requested(connector_id) cross join lateral ").push(select);
    sql.push(" s left join users u on u.id = s.requested_by");
    sql.build_query_as().fetch_all(db).await
}

/// What is asked of a sync.
#[derive(Clone, Copy, Debug, ToSchema)]
#[schema(as = Wish)]
pub struct SyncOptions {
    #[schema(ignore)]
    pub trigger: SyncTrigger,
    /// Whether to read the whole history again
    #[schema(value_type = Option<bool>, default = false)]
    pub full: bool,
    /// Whether a full sync may deactivate more than a fifth of the pipelines at once
    #[schema(value_type = Option<bool>, default = false)]
    pub accept_mass_deletion: bool,
}

/// Whether a connector can be synced, and if not, why.
#[derive(Debug, PartialEq, Eq)]
pub enum SyncEligibility {
    NotFound,
    UnsupportedType,
    Inactive,
    Ready,
}

/// Returns whether a connector of the space can be synced.
pub async fn find_sync_eligibility(
    db: &PgPool,
    space: SpaceId,
    connector: ConnectorId,
) -> sqlx::Result<SyncEligibility> {
    let found: Option<(String, bool)> = sqlx::query_as(
        "select connector_type, is_active from connectors
         where id = $1 and space_id = $2 and deleted_at is null",
    )
    .bind(connector)
    .bind(space)
    .fetch_optional(db)
    .await?;
    Ok(match found.map(|(name, is_active)| (ConnectorType::from(name), is_active)) {
        None => SyncEligibility::NotFound,
        Some((ConnectorType::Other(_), _)) => SyncEligibility::UnsupportedType,
        Some((ConnectorType::Airflow, false)) => SyncEligibility::Inactive,
        Some((ConnectorType::Airflow, true)) => SyncEligibility::Ready,
    })
}

/// Requests a sync within the caller's transaction and returns its id. A sync that is still queued is reused.
pub async fn request(
    db: &mut PgConnection,
    space: (SpaceId, &str),
    connector: ConnectorId,
    user: UserId,
    options: SyncOptions,
) -> sqlx::Result<SyncId> {
    lock_queue(db, connector).await?;
    let SyncOptions { trigger, full, accept_mass_deletion } = options;
    if let Some(id) = merge_into_queued(db, connector, user, options).await? {
        let event = AuditEvent::request_sync(Actor::User(user), connector, id, full, accept_mass_deletion);
        audit::insert(db, space.0, &event).await?;
        return Ok(id);
    }
    let id = SyncId(Uuid::now_v7());
    let origin = SyncOrigin::User { user, space: space.1.to_owned(), trigger };
    let sync = NewSync { id, space_id: space.0, connector_id: connector, full, accept_mass_deletion, origin };
    enqueue(db, &[sync]).await?;
    Ok(id)
}

/// Locks the connector's state row, so that concurrent requests end up in one sync.
async fn lock_queue(db: &mut PgConnection, connector: ConnectorId) -> sqlx::Result<()> {
    let lock = sqlx::query(
        "insert into connector_state (connector_id) values ($1)
         on conflict (connector_id) do update set connector_id = excluded.connector_id",
    );
    lock.bind(connector).execute(db).await.map(drop)
}

/// Merges the request into the queued sync of the connector, if there is one. One that a schedule requested
/// becomes the user's.
async fn merge_into_queued(
    db: &mut PgConnection,
    connector: ConnectorId,
    user: UserId,
    options: SyncOptions,
) -> sqlx::Result<Option<SyncId>> {
    let queued: Option<(SyncId, bool)> = sqlx::query_as(
        r#"select s.id, s.trigger <> 'schedule' and (s."full" or not $2)
               and (s.accept_mass_deletion or not $3)
           from sync_queue q join syncs s on s.id = q.sync_id
           where q.connector_id = $1 and s.status = 'queued'
           order by q.trigger = 'schedule', q.requested_at limit 1 for update of s"#,
    )
    .bind(connector)
    .bind(options.full)
    .bind(options.accept_mass_deletion)
    .fetch_optional(&mut *db)
    .await?;
    let Some((id, is_sufficient)) = queued else {
        return Ok(None);
    };
    // `asked_at` moves, because the sync must read the provider after this request, too.
    sqlx::query(
        r#"update syncs set asked_at = clock_timestamp(), "full" = "full" or $2,
               accept_mass_deletion = accept_mass_deletion or $3,
               version = case when $4 then version else nextval('observation_version') end,
               trigger = case when trigger = 'schedule' then $5 else trigger end,
               requested_by = case when trigger = 'schedule' then $6 else requested_by end
           where id = $1"#,
    )
    .bind(id)
    .bind(options.full)
    .bind(options.accept_mass_deletion)
    .bind(is_sufficient)
    .bind(options.trigger.to_string())
    .bind(user)
    .execute(&mut *db)
    .await?;
    if !is_sufficient {
        enqueue_sync_events(db, &[id]).await?;
    }
    Ok(Some(id))
}

/// What became of the cancellation of a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    Cancelled,
    NotFound,
    /// The sync has ended before.
    Ended,
}

/// Cancels a queued or running sync: it fails with an error that names the user. The worker that runs it
/// notices when it renews its lease, and stores no other end.
pub async fn cancel(
    db: &PgPool,
    space: SpaceId,
    connector: ConnectorId,
    sync: SyncId,
    user: &UserRef,
) -> sqlx::Result<CancelOutcome> {
    let mut tx = db.begin().await?;
    let cancelled = sqlx::query(
        "update syncs set status = 'failed', finished_at = clock_timestamp(), error = $4,
             version = nextval('observation_version')
         where id = $1 and connector_id = $2 and space_id = $3 and status in ('queued', 'running')",
    )
    .bind(sync)
    .bind(connector)
    .bind(space)
    .bind(format!("{} cancelled this sync; the next one goes on from there.", user.name))
    .execute(&mut *tx)
    .await?;
    if cancelled.rows_affected() == 0 {
        let is_known = find(db, space, connector, sync).await?.is_some();
        return Ok(if is_known { CancelOutcome::Ended } else { CancelOutcome::NotFound });
    }
    enqueue_sync_events(&mut tx, &[sync]).await?;
    let details = json!({ "connector_id": connector });
    let event = AuditEvent::new(Actor::User(user.id), Action::SyncCancelled, sync, details);
    audit::insert(&mut tx, space, &event).await?;
    tx.commit().await?;
    Ok(CancelOutcome::Cancelled)
}
