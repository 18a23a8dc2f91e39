//! One sync in the foreground, for an operator at a terminal: asked for like any other, taken by this very process,
//! and watched to its end.

use std::time::{Duration, Instant};

use anyhow::bail;
use contract::events::SyncReport;
use contract::ids::{ConnectorId, SpaceId, SyncId};
use indicatif::{ProgressBar, ProgressStyle};
use platform::audit::{self, Actor, AuditEvent};
use platform::shutdown;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::SyncArgs;
use crate::process::Parts;
use crate::sync::{Progress, Stage};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Syncs a connector and prints what it did.
///
/// # Errors
/// When there is no such connector, it is switched off, the sync fails, or another worker keeps the connector for too long.
pub async fn sync(args: &SyncArgs) -> anyhow::Result<()> {
    let parts = Parts::open(&args.settings, shutdown::on_signal()?)?;
    let sync = request(&parts.runner.pool, args).await?;
    parts.await_topics().await?;
    parts.start_projecting();
    parts.start_relay();
    let progress = watch::Sender::new(Progress::default());
    let bar = tokio::spawn(show(progress.subscribe()));
    let patience = Duration::from_secs(args.wait_for_others);
    let watched = watch_to_end(&parts, sync, args.connector, patience, &progress).await;
    drop(progress);
    bar.await?;
    parts.stop().await;
    watched
}

/// Asks for the sync of a connector that can be synced.
async fn request(pool: &PgPool, args: &SyncArgs) -> anyhow::Result<SyncId> {
    let connector = args.connector;
    let found: Option<(SpaceId, bool)> =
        sqlx::query_as("select space_id, is_active from connectors where id = $1 and deleted_at is null")
            .bind(connector)
            .fetch_optional(pool)
            .await?;
    match found {
        Some((space, true)) => Ok(write_down(pool, space, args).await?),
        Some((_, false)) => bail!("the connector {connector} is switched off; set is_active first"),
        None => bail!("there is no connector {connector}"),
    }
}

/// Writes the request down, already accepted: it does not need the way through Kafka.
async fn write_down(pool: &PgPool, space: SpaceId, args: &SyncArgs) -> Result<SyncId, sqlx::Error> {
    let id = SyncId(Uuid::now_v7());
    let SyncArgs { connector, full, accept_mass_deletion, .. } = *args;
    let mut tx = pool.begin().await?;
    sqlx::query(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_at, accepted_at)
           values ($1, $2, $3, 'queued', 'manual', $4, $5, now(), now())"#,
    )
    .bind(id)
    .bind(space)
    .bind(connector)
    .bind(full)
    .bind(accept_mass_deletion)
    .execute(&mut *tx)
    .await?;
    let act = AuditEvent::request_sync(Actor::CommandLine, connector, id, full, accept_mass_deletion);
    audit::record(&mut tx, space, &act).await?;
    tx.commit().await?;
    Ok(id)
}

/// Runs jobs of the connector until the sync has ended, here or in another worker.
async fn watch_to_end(
    parts: &Parts,
    sync: SyncId,
    connector: ConnectorId,
    patience: Duration,
    progress: &watch::Sender<Progress>,
) -> anyhow::Result<()> {
    let mut waiting_since = Instant::now();
    loop {
        if parts.runner.stop.is_cancelled() {
            bail!("stopped; the sync stays queued for the next worker");
        }
        let ran = parts.runner.run_next(Some(connector), progress).await?;
        let (status, error, report): (String, Option<String>, Json<SyncReport>) =
            sqlx::query_as("select status, error, report from syncs where id = $1")
                .bind(sync)
                .fetch_one(&parts.runner.pool)
                .await?;
        match (status.as_str(), error) {
            ("succeeded", _) => {
                println!("{}", serde_json::to_string(&report.0)?);
                return Ok(());
            }
            ("failed", error) => bail!(error.unwrap_or_default()),
            _ if ran.is_some() => waiting_since = Instant::now(),
            _ if waiting_since.elapsed() > patience => bail!(
                "another worker has kept this connector for {} s; see its log, or wait longer with --wait-for-others",
                patience.as_secs()
            ),
            (status, _) => {
                if status == "running" {
                    progress.send_modify(|progress| {
                        (progress.stage, progress.report) = (Stage::Elsewhere, report.0);
                    });
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}

/// Draws the progress on a terminal; elsewhere it stays silent.
async fn show(mut progress: watch::Receiver<Progress>) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{elapsed} {msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        let doing = match now.stage {
            Stage::Connecting => "connecting",
            Stage::Listing => "listing pipelines",
            Stage::Changes => "reading changes",
            Stage::Histories => "reading histories",
            Stage::Projecting => "waiting for the read model",
            Stage::Elsewhere => "another worker is at it",
        };
        let report = now.report;
        bar.set_message(format!("{doing}: {} runs, {} task runs", report.runs_seen, report.task_runs_seen));
        bar.set_length(now.to_crawl as u64);
        bar.set_position(now.crawled as u64);
    }
    bar.finish_and_clear();
}
