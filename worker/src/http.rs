//! The worker's HTTP server: liveness, readiness and metrics.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use platform::health::{Heartbeats, check_readiness};
use platform::kafka::KafkaProbe;
use platform::periodic::Periodic;
use platform::telemetry::render_metrics;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often the worker checks whether PostgreSQL and Kafka answer, for `/health`.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Which servers do not answer, and since when. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Outage(Arc<Mutex<Option<(&'static str, Instant)>>>);

impl Outage {
    fn record(&self, checked: Result<(), &'static str>) {
        let mut outage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = outage.map_or_else(Instant::now, |(_, since)| since);
        *outage = checked.err().map(|reason| (reason, since));
    }

    fn find(&self) -> Option<(&'static str, Duration)> {
        let outage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outage.map(|(reason, since)| (reason, since.elapsed()))
    }
}

/// Serves `/health`, `/readyz` and `/metrics`.
#[derive(Clone)]
pub(crate) struct HealthServer {
    pub(crate) metrics: PrometheusHandle,
    /// The connections of syncs, which may be used up.
    pub(crate) pool: PgPool,
    pub(crate) control: PgPool,
    pub(crate) kafka: KafkaProbe,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) stop: CancellationToken,
    pub(crate) outage: Outage,
}

impl HealthServer {
    /// Serves until stopped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let (stop, checks) = (self.stop.clone(), self.clone().check_servers());
        let routes = Router::new()
            .route("/health", get(health))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned());
        let (served, ()) = tokio::join!(served.into_future(), checks);
        if let Err(error) = served {
            tracing::error!(%error, "health server failed");
        }
    }

    /// Checks until stopped. A liveness probe cannot wait for a server that does not answer.
    async fn check_servers(self) {
        let mut ticks = Periodic::new(CHECK_INTERVAL, self.stop.clone());
        while ticks.next().await {
            self.outage.record(check_readiness(&self.control, &self.kafka).await);
        }
    }
}

async fn metrics(State(server): State<HealthServer>) -> impl IntoResponse {
    server.heartbeats.record_ages();
    let text = render_metrics(&server.metrics, &server.pool);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

async fn health(State(server): State<HealthServer>) -> (StatusCode, String) {
    respond_health(&server.heartbeats, server.outage.find())
}

/// Fails while a task of the worker is stalled, so that a liveness probe restarts the process. A server that
/// does not answer is named, but is no failure, because a restart would not help.
fn respond_health(heartbeats: &Heartbeats, outage: Option<(&str, Duration)>) -> (StatusCode, String) {
    let stalled = heartbeats.find_stalled();
    let (status, alive) = match stalled.as_slice() {
        [] => (StatusCode::OK, "alive\n"),
        _ => (StatusCode::INTERNAL_SERVER_ERROR, ""),
    };
    let task = |(task, age): &(&str, Duration)| format!("{task}: no heartbeat for {} s\n", age.as_secs());
    let tasks: String = stalled.iter().map(task).collect();
    let server = outage.map(|(reason, age)| format!("{reason}, for {} s\n", age.as_secs()));
    (status, format!("{alive}{tasks}{}", server.unwrap_or_default()))
}

async fn ready(State(server): State<HealthServer>) -> (StatusCode, String) {
    if server.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match check_readiness(&server.control, &server.kafka).await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_health_check_fails_with_the_name_of_a_stalled_task() {
        let heartbeats = Heartbeats::default();
        heartbeats.register("projector", Duration::from_secs(3600));
        assert_eq!(respond_health(&heartbeats, None), (StatusCode::OK, "alive\n".to_owned()));
        heartbeats.register("relay", Duration::ZERO);
        std::thread::sleep(Duration::from_millis(1));
        let (status, text) = respond_health(&heartbeats, None);
        assert_eq!((status.as_u16(), text.as_str()), (500, "relay: no heartbeat for 0 s\n"));
    }

    #[test]
    fn the_health_check_names_a_server_that_does_not_answer_until_it_does() {
        let (heartbeats, outage) = (Heartbeats::default(), Outage::default());
        for _ in 0..2 {
            outage.record(Err("Kafka does not answer"));
        }
        let (status, text) = respond_health(&heartbeats, outage.find());
        assert_eq!((status.as_u16(), text.as_str()), (200, "alive\nKafka does not answer, for 0 s\n"));
        outage.record(Ok(()));
        assert_eq!(respond_health(&heartbeats, outage.find()).1, "alive\n");
    }
}
