//! The API under test: a router of its own in this process, on a database with two spaces, their members and
//! a connector each.

use std::sync::Arc;
use std::time::Duration;

use api::auth::Authenticator;
use api::auth::access_cache::AccessCache;
use api::auth::client_address::TrustedProxies;
use api::auth::rate_limit::KeyRateLimiter;
use api::auth::sessions::SessionConfig;
use api::oidc::OidcClient;
use api::oidc::config::OidcConfig;
use api::read_queue::ReadQueue;
use api::readiness::ReadinessProbe;
use api::state::{App, AppState};
use api::store::connectors::ConnectorQuotas;
use api::stream::{StreamConfig, StreamHub};
use api::{routes, server};
use axum::Router;
use contract::ids::ConnectorId;
use local::TestDatabase;
use metrics_exporter_prometheus::PrometheusBuilder;
use platform::health::Heartbeat;
use platform::kafka::{KafkaConfig, KafkaProbe};
use platform::secrets::Keyring;
use platform::watched_tasks::WatchedTasks;
use provider::NetworkPolicy;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use testkit::{kafka_config, keyring};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The space that the tests use.
pub(crate) const SPACE: &str = "finance";
pub(crate) const OTHER_SPACE: &str = "other";

const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct TestApi {
    /// Connections with the owner's role, to set up and to look at rows. The service has the API's role.
    pub db: PgPool,
    pub database: TestDatabase,
    pub app: App,
    pub router: Router,
    pub connector: ConnectorId,
    pub other_connector: ConnectorId,
    pub team: Uuid,
    pub other_team: Uuid,
}

/// The settings of a [`TestApi`].
pub(crate) struct ApiSetup {
    /// Requests a minute and an hour; 0 is no limit.
    pub limits: (u32, u32),
    pub request_timeout: Duration,
    pub allow_private_networks: bool,
    pub proxy: Option<String>,
    pub no_proxy: Option<String>,
    pub quotas: ConnectorQuotas,
    pub origins: Vec<&'static str>,
    /// The number of connections for reads, if it matters.
    pub connections: Option<u32>,
    /// By default an address at which no server listens.
    pub kafka: KafkaConfig,
    pub sessions: SessionConfig,
    pub oidc: OidcConfig,
}

impl Default for ApiSetup {
    fn default() -> Self {
        Self {
            limits: (0, 0),
            request_timeout: Duration::from_secs(30),
            allow_private_networks: true,
            proxy: None,
            no_proxy: None,
            quotas: ConnectorQuotas::default(),
            origins: vec![],
            connections: None,
            kafka: kafka_config("127.0.0.1:9", ""),
            sessions: SessionConfig::default(),
            oidc: OidcConfig::default(),
        }
    }
}

impl TestApi {
    pub(crate) async fn new() -> Self {
        Self::with(ApiSetup::default()).await
    }

    pub(crate) async fn with(setup: ApiSetup) -> Self {
        let database = local::test_database().await.expect("a database");
        let app = open_app(&database, keyring("a"), setup);
        let mut test = Self {
            db: database.pool.clone(),
            database,
            router: routes::router(app.clone()),
            app,
            connector: ConnectorId(Uuid::nil()),
            other_connector: ConnectorId(Uuid::nil()),
            team: Uuid::nil(),
            other_team: Uuid::nil(),
        };
        test.populate().await;
        test
    }

    /// Another replica on the same database, with sealing keys of its own.
    pub(crate) fn replica(&self, keyring: Keyring) -> Self {
        let app = open_app(&self.database, keyring, ApiSetup::default());
        Self {
            db: self.db.clone(),
            database: self.database.clone(),
            router: routes::router(app.clone()),
            app,
            ..*self
        }
    }

    /// Lets the service cache what keys and sessions give.
    pub(crate) fn cache_access(&self) {
        let app = self.app.clone();
        tokio::spawn(async move {
            let (db, stop) = (&app.control_db, &app.stopping);
            app.authenticator.access.listen(db, &Heartbeat::default(), stop).await;
        });
    }

    pub(crate) async fn sql(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&self.db).await.unwrap();
    }

    /// An id from the database.
    pub(crate) async fn id(&self, query: &str) -> Uuid {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.db).await.unwrap()
    }

    /// A number from the database.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(query.to_owned())).fetch_one(&self.db).await.unwrap()
    }

    /// Waits until a query returns true.
    pub(crate) async fn wait_for(&self, query: &str) {
        testkit::eventually_true(&self.db, TIMEOUT, query).await;
    }
}

fn open_pool(database: &TestDatabase, connections: Option<u32>) -> PgPool {
    match connections {
        None => local::test_pool(&database.api_url).unwrap(),
        Some(connections) => {
            PgPoolOptions::new().max_connections(connections).connect_lazy(&database.api_url).unwrap()
        }
    }
}

fn network(setup: &ApiSetup) -> NetworkPolicy {
    NetworkPolicy {
        allow_private_networks: setup.allow_private_networks,
        proxy: setup.proxy.clone().map(Into::into),
        no_proxy: setup.no_proxy.clone(),
        ..NetworkPolicy::default()
    }
}

fn open_app(database: &TestDatabase, keyring: Keyring, setup: ApiSetup) -> App {
    let db = open_pool(database, setup.connections);
    let network = network(&setup);
    let (stopping, drained) = (CancellationToken::new(), CancellationToken::new());
    let control_db = local::test_pool(&database.api_url).unwrap();
    let kafka = KafkaProbe::new(&setup.kafka).unwrap();
    let config =
        StreamConfig { streams: 10, streams_per_key: 10, stream_history: 1_000, stream_heartbeat: 1 };
    let stream = StreamHub::new(setup.kafka, config, control_db.clone(), keyring.clone(), drained);
    let public_url = setup.sessions.public_url.as_ref();
    let oidc = OidcClient::open(&setup.oidc, public_url, &keyring, &network).unwrap();
    let authenticator = Authenticator {
        db: control_db.clone(),
        access: AccessCache::default(),
        rate_limiter: KeyRateLimiter::new(setup.limits.0, setup.limits.1),
        sessions: setup.sessions,
        trusted_proxies: TrustedProxies::default(),
    };
    App::new(AppState {
        reads: ReadQueue::of_pool(db.options().get_max_connections()),
        large_reads: ReadQueue::of_large_reads(),
        db,
        readiness: ReadinessProbe::new(control_db.clone(), kafka),
        control_db,
        authenticator: Arc::new(authenticator),
        oidc,
        keyring,
        network,
        quotas: setup.quotas,
        stream: Arc::new(stream),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        document: server::document(),
        request_timeout: setup.request_timeout,
        cors_origins: setup.origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        body_limit: 100_000,
        watched: WatchedTasks::new(Duration::from_secs(60), TaskTracker::new(), stopping.clone()),
        stopping,
        tasks: TaskTracker::new(),
    })
}
