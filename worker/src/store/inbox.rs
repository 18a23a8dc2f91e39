//! `inbox`: what users are notified of: the incidents of the pipelines they watch, and the ends of the runs
//! they triggered.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// How long after its trigger the end of a run is reported, as a PostgreSQL interval.
const MAX_TRIGGER_AGE: &str = "7 days";
/// Runs that ended longer ago are not reported, as a PostgreSQL interval.
const MAX_END_AGE: &str = "1 day";

/// Inserts the change of an incident for the users who watch its pipeline, or a pipeline of its connector;
/// its end for those who were notified of it. While an incident is muted, only its end is reported.
pub(crate) async fn insert_change(
    db: &mut PgConnection,
    change_id: i64,
    incident: Uuid,
    change: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into inbox (id, user_id, space_id, kind, change, incident_id, pipeline_id, run_id, summary)
         select md5($1::bigint::text || w.user_id::text)::uuid, w.user_id, i.space_id, i.kind, $3, i.id,
             i.pipeline_id, i.last_run_id, i.summary
         from incidents i
         join lateral (
             select user_id from pipeline_watches
             where $3 <> 'resolved' and pipeline_id = i.pipeline_id and space_id = i.space_id
             union
             select w.user_id from pipelines p join pipeline_watches w on w.pipeline_id = p.id
             where $3 <> 'resolved' and i.pipeline_id is null and p.connector_id = i.connector_id
                 and w.space_id = i.space_id
             union
             select user_id from inbox
             where $3 = 'resolved' and incident_id = i.id and change in ('opened', 'reopened')) w on true
         where i.id = $2 and ($3 = 'resolved' or i.muted_until is null or i.muted_until <= now())
         on conflict (id) do nothing",
    )
    .bind(change_id)
    .bind(incident)
    .bind(change)
    .execute(db)
    .await
    .map(drop)
}

/// Inserts the ends of runs for the users who triggered them; returns how many there were.
pub(crate) async fn insert_run_ends(db: impl PgExecutor<'_>, limit: i64) -> sqlx::Result<u64> {
    let inserted = sqlx::query(
        "with ended as (
             select t.id, t.user_id, t.space_id, t.pipeline_id, t.run_id, r.status, p.name
             from triggers t
             join runs r on r.id = t.run_id and r.pipeline_id = t.pipeline_id
             join pipelines p on p.id = t.pipeline_id
             where t.followed_up_at is null and t.created_at > now() - $2::interval
               and r.status in ('success', 'failed') and r.deleted_at is null
               and r.ended_at > now() - $3::interval
             order by t.created_at limit $1 for update of t skip locked),
         marked as (
             update triggers t set followed_up_at = now() from ended where t.id = ended.id)
         insert into inbox (id, user_id, space_id, kind, change, pipeline_id, run_id, summary)
         select md5('run' || id::text)::uuid, user_id, space_id, 'run', 'finished', pipeline_id, run_id,
             'Your run of ' || name || case status when 'success' then ' has succeeded.'
                 else ' has failed.' end
         from ended on conflict (id) do nothing",
    )
    .bind(limit)
    .bind(MAX_TRIGGER_AGE)
    .bind(MAX_END_AGE)
    .execute(db)
    .await?;
    Ok(inserted.rows_affected())
}
