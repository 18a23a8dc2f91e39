//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::kafka::KafkaProbe;
use platform::secrets::Keyring;
use provider::NetworkPolicy;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::access_cache::AccessMemory;
use crate::auth::rate_limit::Limiter;
use crate::stream::Live;

/// The service's shared parts.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// One of each.
pub struct Parts {
    pub db: PgPool,
    pub kafka: KafkaProbe,
    pub access: AccessMemory,
    pub keyring: Keyring,
    pub network: NetworkPolicy,
    pub limiter: Limiter,
    pub live: Live,
    pub metrics: PrometheusHandle,
    /// How long a request may take.
    pub time_out: Duration,
    /// Whose pages may use the API from a browser.
    pub origins: Vec<HeaderValue>,
    /// The most bytes of a request's body.
    pub body_limit: usize,
    /// Cancelled when the process is asked to stop: no longer ready from then on.
    pub stopping: CancellationToken,
    /// Work that goes on when its client has left, awaited before the process ends.
    pub tasks: TaskTracker,
}

impl App {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
