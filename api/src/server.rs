//! `serve`: builds the service from its settings, answers until asked to stop, and then stops in order: not ready
//! first, then no new connections, then what is under way, all within a deadline.

use std::time::Duration;

use anyhow::Context;
use platform::kafka::KafkaProbe;
use platform::secrets::Keyring;
use platform::telemetry::GaugeTtl;
use platform::{db, shutdown, telemetry};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::access_cache::AccessMemory;
use crate::auth::rate_limit::Limiter;
use crate::cli::{APPLICATION, ServeConfig};
use crate::http::connection::{Listener, Patience};
use crate::http::middleware;
use crate::state::{App, Parts};
use crate::stream::Live;
use crate::{routes, stream};

/// How long what is under way may go on once no new connection is taken.
const FINISH: Duration = Duration::from_secs(12);
/// How long a client may take nothing of what is sent to it.
const STALLED: Duration = Duration::from_secs(30);
/// How long at least a connection is kept that waits for its next request.
const KEPT: Duration = Duration::from_secs(75);

/// Serves until the process is asked to stop.
///
/// # Errors
/// When a setting cannot work, or the address is taken.
pub async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let _logging = telemetry::start_logging(&config.log, APPLICATION).map_err(anyhow::Error::msg)?;
    let stopping = shutdown::on_signal().context("The signals cannot be watched")?;
    let app = app(&config, stopping.clone())?;
    middleware::describe();
    stream::describe();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("Cannot listen on {}; choose another with --listen", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "answering");
    app.tasks.spawn(listen(app.clone()));
    app.tasks.spawn(stream::run(app.clone()));

    let drained = CancellationToken::new();
    let router = routes::router(app.clone());
    let idle = 2 * app.time_out.max(app.live.heartbeat());
    let patience = Patience { write: STALLED, idle: idle.max(KEPT) };
    let server = axum::serve(Listener::new(listener, patience), router)
        .with_graceful_shutdown(drained.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    stopping.cancelled().await;
    sleep(Duration::from_secs(config.drain_seconds.into())).await;
    drained.cancel();
    finish(&app, server).await;
    Ok(())
}

fn app(config: &ServeConfig, stopping: CancellationToken) -> anyhow::Result<App> {
    Ok(App::new(Parts {
        db: db::pool(&config.database, APPLICATION)?,
        kafka: KafkaProbe::new(&config.kafka).context("The Kafka settings cannot work")?,
        access: AccessMemory::default(),
        keyring: Keyring::new(&config.sealing)?,
        network: config.network,
        limiter: Limiter::new(config.rate_limit_per_minute, config.rate_limit_per_hour),
        live: Live::new(config.kafka.clone(), config.live.clone()),
        metrics: telemetry::start_metrics("api", GaugeTtl::Never).context("Metrics cannot be collected")?,
        time_out: Duration::from_secs(config.request_timeout.into()),
        origins: config.cors_origins.clone(),
        body_limit: config.body_limit as usize,
        stopping,
        tasks: TaskTracker::new(),
    }))
}

/// Waits for what is under way. A request that never ends must not keep the process.
async fn finish(app: &App, server: tokio::task::JoinHandle<std::io::Result<()>>) {
    app.tasks.close();
    let ended = timeout(FINISH, async {
        let _ = server.await;
        app.tasks.wait().await;
    });
    if ended.await.is_err() {
        tracing::warn!("requests were still under way at the deadline");
    }
    let _ = timeout(Duration::from_secs(3), app.db.close()).await;
    tracing::info!("stopped");
}

async fn listen(app: App) {
    app.access.listen(&app.db, &app.stopping).await;
}
