//! The measured services: the API as in production, with rate limits, and the bare handler.

use std::sync::Arc;
use std::time::Duration;

use api::auth::Authenticator;
use api::auth::access_cache::AccessCache;
use api::auth::client_address::TrustedProxies;
use api::auth::rate_limit::KeyRateLimiter;
use api::auth::sessions::SessionConfig;
use api::read_queue::ReadQueue;
use api::readiness::ReadinessProbe;
use api::state::{App, AppState};
use api::store::connectors::ConnectorQuotas;
use api::stream::{StreamConfig, StreamHub};
use api::{routes, server};
use axum::Router;
use contract::ids::SpaceId;
use metrics_exporter_prometheus::PrometheusBuilder;
use platform::db::DatabaseConfig;
use platform::health::Heartbeat;
use platform::kafka::KafkaProbe;
use platform::watched_tasks::WatchedTasks;
use provider::NetworkPolicy;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bare::{self, BareState};
use crate::data::BenchData;

/// The name of the API's connections in `pg_stat_activity`.
pub(crate) const APPLICATION: &str = "bench";

pub(crate) struct MeasuredServices {
    /// Addresses, host:port.
    pub api: String,
    pub bare: String,
    pub key: String,
}

impl MeasuredServices {
    pub(crate) async fn start(data: &BenchData) -> anyhow::Result<Self> {
        let app = app(pool(data)?, pool(data)?)?;
        let api = listen(routes::router(app.clone())).await?;
        // The API listens for changes of access as in production; the task ends with the process.
        tokio::spawn(async move {
            let heartbeat = Heartbeat::default();
            app.authenticator.access.listen(&app.control_db, &heartbeat, &app.stopping).await;
        });
        let bare = listen(bare::router(BareState { db: pool(data)?, space: SpaceId(data.space) })).await?;
        Ok(Self { api, bare, key: data.key.clone() })
    }
}

async fn listen(router: Router) -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(address)
}

fn pool(data: &BenchData) -> anyhow::Result<PgPool> {
    let config = DatabaseConfig {
        database_url: data.url.clone().into(),
        database_connections: u32::try_from(crate::CONNECTIONS)?,
        statement_timeout: 8,
    };
    Ok(platform::db::pool(&config, APPLICATION)?)
}

fn app(db: PgPool, control_db: PgPool) -> anyhow::Result<App> {
    let kafka = testkit::kafka_config("127.0.0.1:9", "");
    let (keyring, stopping) = (testkit::keyring("a"), CancellationToken::new());
    let config = StreamConfig { streams: 0, streams_per_key: 0, stream_history: 100, stream_heartbeat: 15 };
    let stream = StreamHub::new(kafka.clone(), config, control_db.clone(), keyring.clone(), stopping.clone());
    let authenticator = Authenticator {
        db: control_db.clone(),
        access: AccessCache::default(),
        rate_limiter: KeyRateLimiter::new(u32::MAX, u32::MAX),
        sessions: SessionConfig::default(),
        trusted_proxies: TrustedProxies::default(),
    };
    Ok(App::new(AppState {
        oidc: None,
        reads: ReadQueue::of_pool(db.options().get_max_connections()),
        large_reads: ReadQueue::of_large_reads(),
        readiness: ReadinessProbe::new(control_db.clone(), KafkaProbe::new(&kafka)?),
        control_db,
        db,
        authenticator: Arc::new(authenticator),
        keyring,
        network: NetworkPolicy::default(),
        quotas: ConnectorQuotas::default(),
        stream: Arc::new(stream),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        document: server::document(),
        request_timeout: Duration::from_secs(30),
        cors_origins: vec![],
        body_limit: 100_000,
        watched: WatchedTasks::new(Duration::from_secs(60), TaskTracker::new(), stopping.clone()),
        stopping,
        tasks: TaskTracker::new(),
    }))
}
