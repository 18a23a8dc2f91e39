//! The state that every handler can reach.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::secrets::Keyring;
use platform::watched_tasks::WatchedTasks;
use provider::NetworkPolicy;
use serde_json::Value;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Authenticator;
use crate::http::request::body::BodyLimit;
use crate::oidc::OidcClient;
use crate::read_queue::ReadQueue;
use crate::readiness::ReadinessProbe;
use crate::store::connectors::ConnectorQuotas;
use crate::stream::StreamHub;

/// A cheap handle to the state.
#[derive(Clone)]
pub struct App(Arc<AppState>);

/// What the handlers share.
pub struct AppState {
    /// The connections of requests.
    pub db: PgPool,
    /// A few connections for keys, readiness and streams, which slow requests cannot take.
    pub control_db: PgPool,
    pub readiness: ReadinessProbe,
    /// Expensive reads acquire a permit before a connection: lists, and single rows that may be large.
    pub reads: ReadQueue,
    /// Reads of runs with very many task runs acquire a permit of this queue first.
    pub large_reads: ReadQueue,
    pub authenticator: Arc<Authenticator>,
    /// The OpenID Connect provider at which people sign in, if there is one.
    pub oidc: Option<OidcClient>,
    pub keyring: Keyring,
    pub network: NetworkPolicy,
    pub quotas: ConnectorQuotas,
    pub stream: Arc<StreamHub>,
    pub metrics: PrometheusHandle,
    /// The OpenAPI document.
    pub document: &'static Value,
    /// The maximum duration of a request.
    pub request_timeout: Duration,
    /// The origins whose pages may use the API from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// The maximum number of bytes of a request's body.
    pub body_limit: usize,
    /// Cancelled when the process is asked to stop; from then on the service is not ready.
    pub stopping: CancellationToken,
    /// Tasks that outlive their request; the process awaits them before it ends.
    pub tasks: TaskTracker,
    /// The long-lived tasks, whose heartbeats are the health of the process.
    pub watched: WatchedTasks,
}

impl App {
    pub fn new(state: AppState) -> Self {
        Self(Arc::new(state))
    }
}

impl AppState {
    /// The time that a provider has for its answers: shorter than the request time-out, so that the response
    /// can say that they are missing.
    pub(crate) fn provider_time_limit(&self) -> Duration {
        self.request_timeout.mul_f64(0.9)
    }
}

impl Deref for App {
    type Target = AppState;

    fn deref(&self) -> &AppState {
        &self.0
    }
}

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        app.authenticator.clone()
    }
}

impl FromRef<App> for BodyLimit {
    fn from_ref(app: &App) -> Self {
        Self(app.body_limit)
    }
}
