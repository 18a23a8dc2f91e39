//! The dispatcher: one worker at a time turns the changes of incidents into entries of inboxes and into
//! messages of channels. A burst becomes one message, and a channel is not notified of an incident again
//! within minutes. All effects of a pass are committed together, so that a worker that is killed leaves
//! nothing half done.

use std::time::Duration;

use chrono::Utc;
use contract::ids::{ChannelId, DeliveryId, SpaceId};
use platform::health::Heartbeat;
use platform::notifications::{
    ChannelType, IncidentFacts, MessageChange, NotificationMessage, PipelineFacts,
};
use platform::periodic::Periodic;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::incident_changes::{self, UnreportedChange};
use crate::store::notification_threads::{self as threads, DueReport};
use crate::store::{inbox, notification_deliveries};

const INTERVAL: Duration = Duration::from_secs(1);
/// Changes of incidents in a pass.
const MAX_CHANGES: i64 = 200;
/// Channels in a pass that get messages.
const MAX_CHANNELS: i64 = 100;
/// Incidents in a message.
const MAX_INCIDENTS: i64 = 50;
/// Ends of triggered runs in a pass.
const MAX_RUN_ENDS: i64 = 200;

/// Dispatches until stopped.
pub async fn run(pool: PgPool, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut ticks = Periodic::new(INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        match dispatch(&pool).await {
            Ok(false) => {}
            Ok(true) => ticks.skip_pause(),
            Err(error) => tracing::warn!(%error, "notifications not dispatched; retrying"),
        }
    }
}

/// Dispatches what is due in one transaction; true if there may be more. False while another worker
/// dispatches.
pub async fn dispatch(pool: &PgPool) -> sqlx::Result<bool> {
    let mut tx = pool.begin().await?;
    if !incident_changes::lock_dispatch(&mut tx).await? {
        return Ok(false);
    }
    let changes = apply_changes(&mut tx).await?;
    threads::cancel_and_postpone(&mut tx).await?;
    let channels = threads::list_due_channels(&mut tx, MAX_CHANNELS).await?;
    for (channel, space, channel_type, slug) in &channels {
        write_messages(&mut tx, *channel, (*space, slug), *channel_type).await?;
    }
    let run_ends = inbox::insert_run_ends(&mut *tx, MAX_RUN_ENDS).await?;
    tx.commit().await?;
    Ok(changes == MAX_CHANGES.unsigned_abs() as usize
        || channels.len() == MAX_CHANNELS.unsigned_abs() as usize
        || run_ends == MAX_RUN_ENDS.unsigned_abs())
}

/// Applies the oldest changes of incidents in their order, and deletes them; returns how many there were.
async fn apply_changes(db: &mut PgConnection) -> sqlx::Result<usize> {
    let changes = incident_changes::list(db, MAX_CHANGES).await?;
    for change in &changes {
        apply(db, change).await?;
    }
    let ids: Vec<i64> = changes.iter().map(|change| change.id).collect();
    if !ids.is_empty() {
        incident_changes::delete(db, &ids).await?;
    }
    Ok(changes.len())
}

async fn apply(db: &mut PgConnection, change: &UnreportedChange) -> sqlx::Result<()> {
    let incident = change.incident_id;
    match change.change.as_str() {
        "opened" => threads::schedule_opened(db, incident, MessageChange::Opened).await?,
        "reopened" => threads::schedule_opened(db, incident, MessageChange::Reopened).await?,
        "counted" => return threads::schedule_update(db, incident).await,
        "acknowledged" => {
            return threads::schedule_ending(db, incident, MessageChange::Acknowledged).await;
        }
        "resolved" => threads::schedule_ending(db, incident, MessageChange::Resolved).await?,
        // What is muted is known when a report is due.
        _ => return Ok(()),
    }
    inbox::insert_change(db, change.id, incident, &change.change).await
}

/// Writes what is due for a channel into its outbox: in one message, or where a service groups them itself,
/// in one message per incident.
async fn write_messages(
    db: &mut PgConnection,
    channel: ChannelId,
    (space, slug): (SpaceId, &str),
    channel_type: ChannelType,
) -> sqlx::Result<()> {
    let due = threads::list_due(db, channel, MAX_INCIDENTS).await?;
    let size = if channel_type == ChannelType::Pagerduty { 1 } else { due.len().max(1) };
    for reports in due.chunks(size) {
        let id = delivery_id(channel, reports);
        let incidents = reports.iter().map(facts).collect();
        let message = NotificationMessage { space: slug.to_owned(), at: Utc::now(), incidents };
        notification_deliveries::insert(db, id, space, channel, &message).await?;
    }
    let incidents: Vec<Uuid> = due.iter().map(|report| report.incident_id).collect();
    threads::record_sent(db, channel, &incidents).await
}

/// Derives the id of a message from its channel and the reports in it, each of which has a number.
fn delivery_id(channel: ChannelId, reports: &[DueReport]) -> DeliveryId {
    let name: String =
        reports.iter().map(|report| format!("{}:{};", report.incident_id, report.messages)).collect();
    DeliveryId(Uuid::new_v5(&channel.0, name.as_bytes()))
}

fn facts(report: &DueReport) -> IncidentFacts {
    let pipeline = report.pipeline_id.zip(report.pipeline_name.clone());
    IncidentFacts {
        id: report.incident_id,
        change: report.next_change,
        kind: report.kind.clone(),
        status: report.status.clone(),
        pipeline: pipeline.map(|(id, name)| PipelineFacts { id, name }),
        connector_name: report.connector_name.clone(),
        criticality: report.criticality,
        opened_at: report.opened_at,
        resolved_at: report.resolved_at,
        acknowledged_by: report.acknowledged_by.clone(),
        count: report.count,
        last_run_id: report.last_run_id,
        summary: report.summary.clone(),
    }
}
