//! The deliverer: leases channels whose messages are due and sends each channel its messages, one after the
//! other. Channels do not wait for each other, and a receiver that fails is paused. Several workers share the
//! channels. After a worker was killed, another one sends again what was not recorded, with the same id.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use platform::health::Heartbeat;
use platform::notifications::ChannelType;
use platform::periodic::Periodic;
use sqlx::PgPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::retries::{effect_of_failure, pause_after};
use super::sender::{SendResult, Sender};
use crate::metrics::count_notification;
use crate::store::notification_channels::{self as channels, LeasedChannel};
use crate::store::notification_deliveries::{self as deliveries, AttemptEffect, EndedAttempt};

const INTERVAL: Duration = Duration::from_secs(1);
/// Channels that a worker delivers to at a time.
const MAX_CHANNELS: usize = 256;
/// After this duration, or so many messages, a channel's lease ends; it is shorter than the lease.
const MAX_BATCH_DURATION: Duration = Duration::from_secs(60);
const MAX_BATCH: usize = 50;
/// Slack accepts a message a second on each channel.
const SLACK_INTERVAL: Duration = Duration::from_secs(1);
const DISABLED: &str = "The receiver answered 410: it wants no more messages.";

/// Sends the messages that are due.
#[derive(Clone)]
pub struct Deliverer {
    pool: PgPool,
    sender: Arc<Sender>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

/// How a batch of a channel ended.
enum BatchEnd {
    /// Nothing is due, or it is another worker's turn.
    Pause {
        failures: i32,
        pause: Duration,
    },
    Disabled,
}

impl Deliverer {
    pub fn new(pool: PgPool, sender: Sender, stop: CancellationToken) -> Self {
        Self { pool, sender: Arc::new(sender), permits: Arc::new(Semaphore::new(MAX_CHANNELS)), stop }
    }

    /// Delivers until stopped.
    pub async fn run(self, heartbeat: Heartbeat) {
        let tasks = TaskTracker::new();
        let mut ticks = Periodic::new(INTERVAL, self.stop.clone()).with_heartbeat(heartbeat);
        while ticks.next().await {
            match self.start_batches(&tasks).await {
                Ok(0) => {}
                Ok(_) => ticks.skip_pause(),
                Err(error) => tracing::warn!(%error, "notifications not delivered; retrying"),
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Delivers everything that is due now, and returns when all of it was attempted.
    pub async fn deliver_due(&self) -> sqlx::Result<()> {
        loop {
            let tasks = TaskTracker::new();
            let started = self.start_batches(&tasks).await?;
            tasks.close();
            tasks.wait().await;
            if started == 0 {
                return Ok(());
            }
        }
    }

    /// Starts a batch for each channel with a message that is due, as far as there are permits; returns how
    /// many.
    async fn start_batches(&self, tasks: &TaskTracker) -> sqlx::Result<usize> {
        let permits = self.acquire_permits().await;
        if permits.is_empty() {
            return Ok(0);
        }
        let leased = channels::lease(&self.pool, permits.len() as i64).await?;
        let started = leased.len();
        for (channel, permit) in leased.into_iter().zip(permits) {
            tasks.spawn(self.clone().run_batch(channel, permit));
        }
        Ok(started)
    }

    /// Acquires all free permits, and waits for the first one; none after a while without any.
    async fn acquire_permits(&self) -> Vec<OwnedSemaphorePermit> {
        let first = tokio::time::timeout(INTERVAL, self.permits.clone().acquire_owned()).await;
        let mut permits: Vec<OwnedSemaphorePermit> = first.into_iter().flatten().collect();
        if !permits.is_empty() {
            while let Ok(permit) = self.permits.clone().try_acquire_owned() {
                permits.push(permit);
            }
        }
        permits
    }

    async fn run_batch(self, channel: LeasedChannel, _permit: OwnedSemaphorePermit) {
        let ended = match self.deliver_batch(&channel).await {
            Ok(BatchEnd::Pause { failures, pause }) => {
                channels::release(&self.pool, &channel, failures, pause).await
            }
            Ok(BatchEnd::Disabled) => {
                let id = channel.id;
                tracing::warn!(channel = %id, "channel of notifications disabled");
                channels::disable(&self.pool, id, DISABLED).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, channel = %channel.id, "batch of notifications not recorded; retrying");
        }
    }

    /// Sends messages that are due until one fails, or the batch is over.
    async fn deliver_batch(&self, channel: &LeasedChannel) -> sqlx::Result<BatchEnd> {
        let (start, interval) = (Instant::now(), interval_of(channel.channel_type));
        let mut failures = channel.failures;
        for _ in 0..MAX_BATCH {
            if self.stop.is_cancelled() || start.elapsed() > MAX_BATCH_DURATION {
                break;
            }
            let Some(delivery) = deliveries::find_due(&self.pool, channel.id).await? else { break };
            let (at, sent_at) = (Utc::now(), Instant::now());
            let result = self.sender.send(channel, &delivery).await;
            let effect = effect(&result, delivery.retries);
            let (is_gone, retry_after) = (result.is_gone, result.retry_after);
            let is_answered = result.is_delivered || !result.reached.is_empty();
            let attempt = EndedAttempt {
                at,
                duration: sent_at.elapsed(),
                code: result.code,
                error: result.error,
                reached: result.reached,
                effect,
            };
            deliveries::record(&self.pool, delivery.id, &attempt).await?;
            count_notification(channel.channel_type, effect);
            if is_gone {
                return Ok(BatchEnd::Disabled);
            }
            // A server that has accepted the e-mail for some works.
            if !is_answered {
                failures = failures.saturating_add(1);
                return Ok(BatchEnd::Pause { failures, pause: pause_after(failures, retry_after) });
            }
            failures = 0;
            if !interval.is_zero() {
                let _ = tokio::time::timeout(interval, self.stop.cancelled()).await;
            }
        }
        Ok(BatchEnd::Pause { failures, pause: Duration::ZERO })
    }
}

fn effect(result: &SendResult, retries: i32) -> AttemptEffect {
    if result.is_delivered {
        AttemptEffect::Delivered
    } else if result.is_gone || result.is_refused {
        AttemptEffect::Failed
    } else {
        effect_of_failure(retries, result.retry_after, rand::random())
    }
}

fn interval_of(channel_type: ChannelType) -> Duration {
    if channel_type == ChannelType::Slack { SLACK_INTERVAL } else { Duration::ZERO }
}
