//! The relay: the records of the outbox are sent to Kafka until the worker stops.

use std::time::Duration;

use platform::health::Heartbeat;
use platform::kafka::Producer;
use platform::outbox;
use platform::periodic::Periodic;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const INTERVAL: Duration = Duration::from_millis(200);
const BACKOFF: Duration = Duration::from_secs(1);

/// Relays the outbox until stopped: at once while there are records, otherwise at an interval.
pub(crate) async fn run(pool: PgPool, producer: Producer, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut ticks = Periodic::new(INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        match outbox::relay(&pool, &producer).await {
            Ok(0) => {}
            Ok(_) => ticks.skip_pause(),
            Err(error) => {
                tracing::warn!(%error, "outbox relay failed; retrying");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
}
