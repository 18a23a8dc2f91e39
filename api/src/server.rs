//! `serve`: builds the state from the settings and answers requests until asked to stop. It then stops in
//! order: it is no longer ready, accepts no new connections, and finishes open requests within a deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use platform::kafka::KafkaProbe;
use platform::secrets::Keyring;
use platform::telemetry::GaugeTtl;
use platform::{db, shutdown, telemetry};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::APPLICATION_NAME;
use crate::auth::Authenticator;
use crate::auth::access_cache::AccessCache;
use crate::auth::rate_limit::KeyRateLimiter;
use crate::cli::ServeConfig;
use crate::http::connection::{ConnectionTimeouts, TimeoutListener};
use crate::http::middleware;
use crate::state::{App, AppState};
use crate::stream::{self, StreamHub};
use crate::{openapi, routes};

/// How long open requests may take once no new connection is accepted.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(12);
/// How long the connection pool may take to close.
const POOL_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a client may read nothing of its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The shortest time for which an idle connection is kept open.
const MIN_IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Returns the OpenAPI document of all routes.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::build(&routes::openapi()))
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// When a setting is invalid, or the address is in use.
pub(crate) async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let _logging = telemetry::start_logging(&config.log, APPLICATION_NAME).map_err(anyhow::Error::msg)?;
    let stopping = shutdown::on_signal().context("The signals cannot be watched")?;
    let app = app(&config, stopping.clone())?;
    middleware::describe();
    stream::describe();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("Cannot listen on {}; choose another with --listen", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "service started");
    app.tasks.spawn(listen_for_access_changes(app.clone()));
    app.tasks.spawn(stream::run(app.stream.clone()));

    let drained = CancellationToken::new();
    let idle = 2 * app.request_timeout.max(app.stream.heartbeat());
    let timeouts = ConnectionTimeouts { write: WRITE_TIMEOUT, idle: idle.max(MIN_IDLE_TIMEOUT) };
    let server = axum::serve(TimeoutListener::new(listener, timeouts), routes::router(app.clone()))
        .with_graceful_shutdown(drained.clone().cancelled_owned());
    let server = tokio::spawn(server.into_future());
    stopping.cancelled().await;
    sleep(Duration::from_secs(config.drain_seconds.into())).await;
    drained.cancel();
    finish(&app, server).await;
    Ok(())
}

fn app(config: &ServeConfig, stopping: CancellationToken) -> anyhow::Result<App> {
    let db = db::pool(&config.database, APPLICATION_NAME)?;
    let keyring = Keyring::new(&config.sealing)?;
    let (kafka, settings) = (config.kafka.clone(), config.stream.clone());
    let stream = StreamHub::new(kafka, settings, db.clone(), keyring.clone(), stopping.clone());
    let authenticator = Authenticator {
        db: db.clone(),
        access: AccessCache::default(),
        rate_limiter: KeyRateLimiter::new(config.rate_limit_per_minute, config.rate_limit_per_hour),
    };
    Ok(App::new(AppState {
        db,
        kafka: KafkaProbe::new(&config.kafka).context("The Kafka settings cannot work")?,
        authenticator: Arc::new(authenticator),
        keyring,
        network: config.network,
        stream: Arc::new(stream),
        metrics: telemetry::start_metrics("api", GaugeTtl::Never).context("Metrics cannot be collected")?,
        document: document(),
        request_timeout: Duration::from_secs(config.request_timeout.into()),
        cors_origins: config.cors_origins.clone(),
        body_limit: config.body_limit as usize,
        stopping,
        tasks: TaskTracker::new(),
    }))
}

/// Awaits open requests and tasks, at most until the deadline: a request that never ends must not keep the
/// process.
async fn finish(app: &App, server: tokio::task::JoinHandle<std::io::Result<()>>) {
    app.tasks.close();
    let finished = timeout(SHUTDOWN_TIMEOUT, async {
        let _ = server.await;
        app.tasks.wait().await;
    });
    if finished.await.is_err() {
        tracing::warn!("shutdown deadline exceeded: open requests are cancelled");
    }
    let _ = timeout(POOL_CLOSE_TIMEOUT, app.db.close()).await;
    tracing::info!("service stopped");
}

async fn listen_for_access_changes(app: App) {
    app.authenticator.access.listen(&app.db, &app.stopping).await;
}
