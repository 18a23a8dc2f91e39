//! `serve`: builds the state from the settings and answers requests until asked to stop. It then stops in
//! order: it is no longer ready, accepts no new connections, and finishes open requests within a deadline.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, bail};
use platform::db::{self, DatabaseConfig};
use platform::health::{self, Heartbeat};
use platform::kafka::KafkaProbe;
use platform::secrets::Keyring;
use platform::telemetry::GaugeTtl;
use platform::watched_tasks::WatchedTasks;
use platform::{shutdown, telemetry};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::auth::access_cache::AccessCache;
use crate::auth::rate_limit::KeyRateLimiter;
use crate::cli::ServeConfig;
use crate::http::connection::ConnectionTimeouts;
use crate::http::listener::{self, ConnectionLimits};
use crate::http::middleware;
use crate::oidc::OidcClient;
use crate::read_queue::ReadQueue;
use crate::readiness::ReadinessProbe;
use crate::state::{App, AppState};
use crate::stream::{self, StreamHub};
use crate::{APPLICATION_NAME, CONTROL_APPLICATION_NAME};
use crate::{auth, openapi, routes};

/// How much longer than the request time-out open requests may take once no new connection is accepted.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// The number of connections to PostgreSQL for keys, readiness and streams.
const CONTROL_CONNECTIONS: u32 = 4;
/// How long the connection pool may take to close.
const POOL_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How much longer than the timeout of a PostgreSQL response one iteration of a long-lived task may take.
const ITERATION_GRACE: Duration = Duration::from_secs(25);
/// How long a client may read nothing of its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Returns the OpenAPI document of all routes.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::build(&routes::openapi()))
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// When a setting is invalid, the address is in use, or a long-lived task does not go on.
pub(crate) async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let _logging = telemetry::start_logging(&config.log, APPLICATION_NAME).map_err(anyhow::Error::msg)?;
    let stopping = shutdown::on_signal().context("The signals cannot be watched")?;
    let drained = CancellationToken::new();
    let app = app(&config, stopping.clone(), drained.clone())?;
    middleware::describe();
    auth::describe();
    stream::describe();
    health::describe();
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("Cannot listen on {}; choose another with --listen", config.listen))?;
    tracing::info!(address = %listener.local_addr()?, "service started");
    start_tasks(&app);
    let limits = connection_limits(&config, &app);
    let metrics_listener = bind_metrics(&config).await?;
    let mut routes = routes::router(app.clone());
    if let Some(listener) = metrics_listener {
        routes = routes::without_metrics(routes);
        let metrics = routes::metrics_router(app.clone());
        app.tasks.spawn(listener::serve(listener, metrics, limits, drained.clone()));
    }
    let server = tokio::spawn(listener::serve(listener, routes, limits, drained.clone()));
    let usable = wait_for_stop(&app).await;
    if usable.is_ok() {
        sleep(Duration::from_secs(config.drain_seconds.into())).await;
    }
    stopping.cancel();
    drained.cancel();
    finish(&app, server).await;
    usable
}

/// Starts the long-lived tasks. The process stops when one of them ends or stalls.
fn start_tasks(app: &App) {
    let (listening, stream) = (app.clone(), app.stream.clone());
    app.watched.spawn("access changes", |heartbeat| listen_for_access_changes(listening, heartbeat));
    app.watched.spawn("event stream tail", |heartbeat| stream::run(stream, heartbeat));
    app.tasks.spawn(app.watched.clone().stop_on_stalled_task());
}

/// Waits until the process is asked to stop.
///
/// # Errors
/// When PostgreSQL is reached in a way that cannot work, or a long-lived task does not go on.
async fn wait_for_stop(app: &App) -> anyhow::Result<()> {
    db::check_server(&[&app.control_db, &app.db], &app.stopping).await?;
    app.stopping.cancelled().await;
    match app.watched.find_failed() {
        Some(task) => bail!("{task} of the API does not go on; see the log lines before"),
        None => Ok(()),
    }
}

/// Listens for scrapes of metrics, if they have an address of their own.
async fn bind_metrics(config: &ServeConfig) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await;
    let advice = || format!("Cannot listen on {address}; choose another with --metrics-listen");
    Ok(Some(listener.with_context(advice)?))
}

/// Returns the limits of connections. One that waits for a response or a heartbeat is not idle.
fn connection_limits(config: &ServeConfig, app: &App) -> ConnectionLimits {
    let busy = 2 * app.request_timeout.max(app.stream.heartbeat());
    let idle = Duration::from_secs(config.idle_timeout.into()).max(busy);
    let timeouts = ConnectionTimeouts { write: WRITE_TIMEOUT, idle };
    ConnectionLimits { timeouts, connections: config.connections as usize }
}

/// Builds the state. The streams end once the process is `drained`: until then, load balancers may still send
/// clients back to it.
fn app(config: &ServeConfig, stopping: CancellationToken, drained: CancellationToken) -> anyhow::Result<App> {
    let statement_timeout = config.database.statement_timeout.min(config.api_statement_timeout);
    let database = DatabaseConfig { statement_timeout, ..config.database.clone() };
    let control = DatabaseConfig { database_connections: CONTROL_CONNECTIONS, ..database.clone() };
    let db = db::pool(&database, APPLICATION_NAME)?;
    let control_db = db::pool(&control, CONTROL_APPLICATION_NAME)?;
    let keyring = Keyring::new(&config.sealing)?;
    config.network.check()?;
    config.kafka.check()?;
    let kafka_probe = KafkaProbe::new(&config.kafka).context("The Kafka settings cannot work")?;
    let (kafka, settings) = (config.kafka.clone(), config.stream.clone());
    let stream = StreamHub::new(kafka, settings, control_db.clone(), keyring.clone(), drained);
    let public_url = config.sessions.public_url.as_ref();
    let oidc = OidcClient::open(&config.oidc, public_url, &keyring, &config.network)?;
    let tasks = TaskTracker::new();
    let limit = database.response_timeout() + ITERATION_GRACE;
    Ok(App::new(AppState {
        db,
        readiness: ReadinessProbe::new(control_db.clone(), kafka_probe),
        authenticator: Arc::new(authenticator(config, control_db.clone())),
        control_db,
        reads: ReadQueue::of_pool(database.database_connections),
        large_reads: ReadQueue::of_large_reads(),
        oidc,
        keyring,
        network: config.network.clone(),
        quotas: config.quotas,
        stream: Arc::new(stream),
        metrics: telemetry::start_metrics("api", GaugeTtl::Never).context("Metrics cannot be collected")?,
        document: document(),
        request_timeout: Duration::from_secs(config.request_timeout.into()),
        cors_origins: config.cors_origins.clone(),
        body_limit: config.body_limit as usize,
        watched: WatchedTasks::new(limit, tasks.clone(), stopping.clone()),
        stopping,
        tasks,
    }))
}

/// Builds what checks keys and sessions.
fn authenticator(config: &ServeConfig, db: PgPool) -> Authenticator {
    Authenticator {
        db,
        access: AccessCache::default(),
        rate_limiter: KeyRateLimiter::new(config.rate_limit_per_minute, config.rate_limit_per_hour),
        sessions: config.sessions.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
    }
}

/// Awaits open requests and tasks, at most until the deadline: a request that never ends must not keep the
/// process.
async fn finish(app: &App, server: tokio::task::JoinHandle<()>) {
    app.tasks.close();
    let finished = timeout(app.request_timeout + SHUTDOWN_GRACE, async {
        let _ = server.await;
        app.tasks.wait().await;
    });
    if finished.await.is_err() {
        tracing::warn!("shutdown deadline exceeded: open requests are cancelled");
    }
    let pools = async { tokio::join!(app.db.close(), app.control_db.close()) };
    let _ = timeout(POOL_CLOSE_TIMEOUT, pools).await;
    tracing::info!("service stopped");
}

async fn listen_for_access_changes(app: App, heartbeat: Heartbeat) {
    app.authenticator.access.listen(&app.control_db, &heartbeat, &app.stopping).await;
}
