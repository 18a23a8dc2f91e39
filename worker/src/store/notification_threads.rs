//! `notification_threads`: what each channel was notified of an incident, and what it is to be notified of
//! next.

use chrono::{DateTime, Utc};
use contract::ids::{ChannelId, PipelineId, RunId, SpaceId};
use contract::state::Criticality;
use platform::notifications::{ChannelType, MessageChange};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// How long a channel waits before it is notified of an incident, so that others join the message.
pub(crate) const GROUP_WAIT: &str = "30 seconds";
/// The shortest time between two messages about an incident that neither acknowledge nor resolve it.
pub(crate) const UPDATE_INTERVAL: &str = "5 minutes";
/// How long after the last message an open incident is reported again.
pub(crate) const REPEAT_INTERVAL: &str = "4 hours";

/// Schedules the report of an incident that was opened or reopened, for the channels that the rules choose;
/// of one that was reopened, for those that were notified of it, too.
pub(crate) async fn schedule_opened(
    db: &mut PgConnection,
    incident: Uuid,
    change: MessageChange,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into notification_threads (channel_id, incident_id, next_change, due_at)
         select c.id, i.id, $2, now() + $3::interval
         from incidents i
         join notification_channels c on c.space_id = i.space_id and c.is_active
         left join pipelines p on p.id = i.pipeline_id
         left join pipeline_governance g on g.pipeline_id = i.pipeline_id
         where i.id = $1 and i.status <> 'resolved' and (
             exists (select from notification_threads t where t.channel_id = c.id and t.incident_id = i.id)
             or exists (
                 select from notification_rules r
                 where r.channel_id = c.id and r.is_active
                   and (r.kinds = '{}' or i.kind = any(r.kinds))
                   and (r.min_criticality is null or i.kind = 'connector_stale'
                        or array_position(array['low', 'medium', 'high', 'critical'], g.criticality)
                           >= array_position(array['low', 'medium', 'high', 'critical'], r.min_criticality))
                   and (r.team_id is null or r.team_id = g.team_id)
                   and (r.tag is null or r.tag = any(p.tags))
                   and (r.pipeline_id is null or r.pipeline_id = i.pipeline_id)))
         on conflict (channel_id, incident_id) do update set
             next_change = case when notification_threads.last_change = 'resolved'
                 or notification_threads.messages = 0 then excluded.next_change else 'updated' end,
             due_at = greatest(excluded.due_at, notification_threads.notified_at + $4::interval)",
    )
    .bind(incident)
    .bind(change)
    .bind(GROUP_WAIT)
    .bind(UPDATE_INTERVAL)
    .execute(db)
    .await
    .map(drop)
}

/// Schedules the report that an open incident has counted another run, unless another report is scheduled.
pub(crate) async fn schedule_update(db: &mut PgConnection, incident: Uuid) -> sqlx::Result<()> {
    sqlx::query(
        "update notification_threads t set next_change = 'updated',
             due_at = greatest(now() + $2::interval, t.notified_at + $3::interval)
         from incidents i
         where t.incident_id = $1 and i.id = t.incident_id and i.status = 'open'
           and (t.next_change = 'repeated' or t.next_change is null and t.messages > 0)",
    )
    .bind(incident)
    .bind(GROUP_WAIT)
    .bind(UPDATE_INTERVAL)
    .execute(db)
    .await
    .map(drop)
}

/// Schedules the report of the acknowledgement or the end of an incident, for the channels that were notified
/// of the incident and not of its end. No other channel is notified of an incident that has ended.
pub(crate) async fn schedule_ending(
    db: &mut PgConnection,
    incident: Uuid,
    change: MessageChange,
) -> sqlx::Result<()> {
    sqlx::query(
        "update notification_threads set
             next_change = case when messages > 0 and last_change <> 'resolved' then $2 end,
             due_at = case when messages > 0 and last_change <> 'resolved' then now() end
         where incident_id = $1 and ($2 = 'resolved' or messages > 0 and last_change <> 'resolved')",
    )
    .bind(incident)
    .bind(change)
    .execute(db)
    .await
    .map(drop)
}

/// Lists channels with a report that is due.
pub(crate) async fn list_due_channels(
    db: &mut PgConnection,
    limit: i64,
) -> sqlx::Result<Vec<(ChannelId, SpaceId, ChannelType, String)>> {
    sqlx::query_as(
        "select c.id, c.space_id, c.channel_type, s.slug
         from notification_channels c join spaces s on s.id = c.space_id
         where c.id in (select t.channel_id from notification_threads t where t.due_at <= now())
         order by c.id limit $1",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Cancels the due reports of channels that are switched off, and the repetition of incidents that were
/// acknowledged. Postpones reports of incidents that are muted, or not seen because their connector is
/// switched off, and further ones of incidents of which an older message has not been delivered.
pub(crate) async fn cancel_and_postpone(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query(CANCEL_AND_POSTPONE).bind(UPDATE_INTERVAL).execute(db).await.map(drop)
}

const CANCEL_AND_POSTPONE: &str = "
    with due as (
        select t.channel_id, t.incident_id,
            not c.is_active or t.next_change in ('updated', 'repeated') and i.status <> 'open' as is_over,
            case when t.next_change not in ('acknowledged', 'resolved') then greatest(
                i.muted_until,
                case when not k.is_active and k.deleted_at is null
                    or t.next_change in ('updated', 'repeated') and exists (
                        select from notification_deliveries d
                        where d.channel_id = t.channel_id and d.next_attempt_at is not null
                            and jsonb_path_query_array(d.message, '$.incidents[*].id')
                                ? t.incident_id::text)
                    then now() + $1::interval end) end as postponed_to
        from notification_threads t
        join notification_channels c on c.id = t.channel_id
        join incidents i on i.id = t.incident_id
        left join connectors k on k.id = i.connector_id
        where t.due_at <= now())
    update notification_threads t set next_change = case when not is_over then t.next_change end,
        due_at = case when not is_over then due.postponed_to end
    from due
    where t.channel_id = due.channel_id and t.incident_id = due.incident_id
        and (is_over or due.postponed_to > now())";

/// A report of an incident to a channel.
#[derive(Debug, FromRow)]
pub(crate) struct DueReport {
    pub incident_id: Uuid,
    pub next_change: MessageChange,
    pub messages: i32,
    pub kind: String,
    pub status: String,
    pub pipeline_id: Option<PipelineId>,
    pub pipeline_name: Option<String>,
    pub connector_name: String,
    pub criticality: Option<Criticality>,
    pub opened_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<String>,
    pub count: i32,
    pub last_run_id: Option<RunId>,
    pub summary: String,
}

/// Lists the reports to a channel that are due, and those of incidents that were opened since the first of
/// them: they belong to the same burst.
pub(crate) async fn list_due(
    db: &mut PgConnection,
    channel: ChannelId,
    limit: i64,
) -> sqlx::Result<Vec<DueReport>> {
    sqlx::query_as(
        "select i.id as incident_id, t.next_change, t.messages, i.kind, i.status, i.pipeline_id,
             case when i.pipeline_id is not null then coalesce(p.name, 'A deleted pipeline') end
                 as pipeline_name,
             coalesce(k.name, 'A deleted connector') as connector_name, g.criticality, i.opened_at,
             i.resolved_at, u.name as acknowledged_by, i.count, i.last_run_id, i.summary
         from notification_threads t
         join incidents i on i.id = t.incident_id
         left join pipelines p on p.id = i.pipeline_id
         left join pipeline_governance g on g.pipeline_id = i.pipeline_id
         left join connectors k on k.id = i.connector_id
         left join users u on u.id = i.acknowledged_by
         where t.channel_id = $1 and (
             t.due_at <= now()
             or t.next_change in ('opened', 'reopened') and t.due_at <= now() + $3::interval
                and (i.muted_until is null or i.muted_until <= now()) and k.is_active is not false)
         order by i.opened_at, i.id limit $2",
    )
    .bind(channel)
    .bind(limit)
    .bind(GROUP_WAIT)
    .fetch_all(db)
    .await
}

/// Records that reports are in the outbox, and schedules the repetition of those that ask for an action.
pub(crate) async fn record_sent(
    db: &mut PgConnection,
    channel: ChannelId,
    incidents: &[Uuid],
) -> sqlx::Result<()> {
    sqlx::query(
        "with sent as (
             select t.incident_id,
                 t.next_change not in ('acknowledged', 'resolved') and i.status = 'open' as is_repeated
             from notification_threads t join incidents i on i.id = t.incident_id
             where t.channel_id = $1 and t.incident_id = any($2))
         update notification_threads t set messages = messages + 1, notified_at = now(),
             last_change = t.next_change, next_change = case when is_repeated then 'repeated' end,
             due_at = case when is_repeated then now() + $3::interval end
         from sent where t.channel_id = $1 and t.incident_id = sent.incident_id",
    )
    .bind(channel)
    .bind(incidents)
    .bind(REPEAT_INTERVAL)
    .execute(db)
    .await
    .map(drop)
}
