//! One sync in the foreground, for an operator at a terminal: asked for like any other, taken by this very process,
//! and watched to its end.

use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use shared::audit::{self, Act, Actor};
use shared::events::SyncReport;
use shared::ids::{ConnectorId, SpaceId, SyncId};
use shared::shutdown;
use sqlx::PgPool;
use sqlx::types::Json;
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::SyncArgs;
use crate::process::Parts;
use crate::sync::{Progress, Stage};

const WAIT_FOR_OTHERS: Duration = Duration::from_secs(600);

/// Syncs a connector and prints what it did.
///
/// # Errors
/// When there is no such connector, the sync fails, or another worker keeps the connector for ten minutes.
pub async fn sync(args: &SyncArgs) -> anyhow::Result<()> {
    let parts = Parts::open(&args.settings, shutdown::on_signal()?)?;
    let sync = request(&parts.runner.pool, args).await?;
    parts.await_topics().await?;
    parts.start_projecting();
    parts.start_relay();
    let progress = watch::Sender::new(Progress::default());
    let bar = tokio::spawn(show(progress.subscribe()));
    let watched =
        tokio::time::timeout(WAIT_FOR_OTHERS, watch_to_end(&parts, sync, args.connector, &progress)).await;
    drop(progress);
    bar.await?;
    parts.stop().await;
    watched.context("another worker has kept this connector for ten minutes; see its log")?
}

/// Writes the request down, already accepted: it does not need the way through Kafka.
async fn request(pool: &PgPool, args: &SyncArgs) -> anyhow::Result<SyncId> {
    let id = SyncId(Uuid::now_v7());
    let SyncArgs { connector, full, accept_mass_deletion, .. } = *args;
    let written = async {
        let mut tx = pool.begin().await?;
        let space: Option<SpaceId> = sqlx::query_scalar(
            r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
                   requested_at, accepted_at)
               select $1, space_id, id, 'queued', 'manual', $3, $4, now(), now() from connectors
               where id = $2 and deleted_at is null returning space_id"#,
        )
        .bind(id)
        .bind(connector)
        .bind(full)
        .bind(accept_mass_deletion)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some(space) = space {
            let act = Act::request_sync(Actor::CommandLine, connector, id, full, accept_mass_deletion);
            audit::record(&mut tx, space, &act).await?;
        }
        tx.commit().await?;
        Ok::<_, sqlx::Error>(space.is_some())
    };
    match written.await.context("PostgreSQL does not answer")? {
        true => Ok(id),
        false => bail!("there is no connector {connector}"),
    }
}

/// Runs jobs of the connector until the sync has ended, here or in another worker.
async fn watch_to_end(
    parts: &Parts,
    sync: SyncId,
    connector: ConnectorId,
    progress: &watch::Sender<Progress>,
) -> anyhow::Result<()> {
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
            ("running", _) if ran.is_none() => {
                progress
                    .send_modify(|progress| (progress.stage, progress.report) = (Stage::Elsewhere, report.0));
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            _ if ran.is_none() => tokio::time::sleep(Duration::from_millis(500)).await,
            _ => {}
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
