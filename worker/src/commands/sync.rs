//! One sync in the foreground, for an operator at a terminal: it is enqueued like any other, claimed by this
//! process, and its progress is shown until it finishes.

use std::time::{Duration, Instant};

use anyhow::bail;
use contract::ids::SyncId;
use contract::state::SyncStatus;
use indicatif::{ProgressBar, ProgressStyle};
use platform::sync_queue::{NewSync, SyncOrigin, enqueue};
use platform::{db, shutdown};
use sqlx::PgPool;
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::Worker;
use crate::cli::SyncArgs;
use crate::store::connectors::{self, ConnectorSpace};
use crate::store::syncs::{self, SyncState};
use crate::sync::{SyncPhase, SyncProgress};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Syncs a connector and prints its report.
///
/// # Errors
/// When there is no such connector, it is switched off, the sync fails, or another worker holds the
/// connector's lease for too long.
pub async fn sync(args: &SyncArgs) -> anyhow::Result<()> {
    let worker = Worker::open(&args.settings, shutdown::on_signal()?)?;
    db::check_sessions(&worker.runner.pool).await?;
    let sync = request(&worker.runner.pool, args).await?;
    worker.await_topics().await?;
    worker.start_projecting();
    worker.start_relay();
    worker.await_read_model().await;
    let progress = watch::Sender::new(SyncProgress::default());
    let bar = tokio::spawn(show_progress(progress.subscribe()));
    let outcome = run_to_end(&worker, sync, args, &progress).await;
    drop(progress);
    bar.await?;
    worker.stop().await;
    outcome
}

/// Enqueues the sync of a connector that can be synced.
async fn request(pool: &PgPool, args: &SyncArgs) -> anyhow::Result<SyncId> {
    let SyncArgs { connector: connector_id, full, accept_mass_deletion, .. } = *args;
    let space_id = match connectors::find_space(pool, connector_id).await? {
        Some(ConnectorSpace { space_id, is_active: true }) => space_id,
        Some(_) => bail!("the connector {connector_id} is switched off; set is_active first"),
        None => bail!("there is no connector {connector_id}"),
    };
    let mut tx = pool.begin().await?;
    let (id, origin) = (SyncId(Uuid::now_v7()), SyncOrigin::CommandLine);
    enqueue(&mut tx, &[NewSync { id, space_id, connector_id, full, accept_mass_deletion, origin }]).await?;
    tx.commit().await?;
    Ok(id)
}

/// Runs jobs of the connector until the sync has finished, here or in another worker.
async fn run_to_end(
    worker: &Worker,
    sync: SyncId,
    args: &SyncArgs,
    progress: &watch::Sender<SyncProgress>,
) -> anyhow::Result<()> {
    let mut waiting_since = Instant::now();
    loop {
        if worker.runner.stop.is_cancelled() {
            bail!("stopped; the sync stays queued for the next worker");
        }
        let job = worker.runner.run_next(Some(args.connector), progress).await?;
        let SyncState { status, error, report } = syncs::find_state(&worker.runner.pool, sync).await?;
        match status {
            SyncStatus::Succeeded => {
                println!("{}", serde_json::to_string(&report.0)?);
                return Ok(());
            }
            SyncStatus::Failed => bail!(error.unwrap_or_default()),
            _ if job.is_some() => waiting_since = Instant::now(),
            _ if waiting_since.elapsed() > Duration::from_secs(args.lease_timeout) => bail!(
                "another worker has kept this connector for {} s; see its log, or wait longer with \
                 --lease-timeout",
                args.lease_timeout
            ),
            SyncStatus::Queued | SyncStatus::Running => {
                if status == SyncStatus::Running {
                    progress.send_modify(|progress| {
                        (progress.phase, progress.report) = (SyncPhase::Remote, report.0);
                    });
                }
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }
}

/// Draws the progress on a terminal; without one it prints nothing.
async fn show_progress(mut progress: watch::Receiver<SyncProgress>) {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{elapsed} {msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    while progress.changed().await.is_ok() {
        let SyncProgress { phase, histories_read, histories_due, report, .. } =
            progress.borrow_and_update().clone();
        let phase = match phase {
            SyncPhase::Connecting => "connecting",
            SyncPhase::Listing => "listing pipelines",
            SyncPhase::Changes => "reading changes",
            SyncPhase::Histories => "reading histories",
            SyncPhase::Projecting => "waiting for the read model",
            SyncPhase::Remote => "running in another worker",
        };
        bar.set_message(format!("{phase}: {} runs, {} task runs", report.runs_seen, report.task_runs_seen));
        bar.set_length(histories_due as u64);
        bar.set_position(histories_read as u64);
    }
    bar.finish_and_clear();
}
