//! The worker as one program: the ticker, the runners, the relay and the consumers, started together and stopped
//! together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contract::events::Topic;
use platform::kafka::{KafkaProbe, Producer, TopicError, ensure_topics};
use platform::secrets::Keyring;
use platform::telemetry::GaugeTtl;
use platform::{db, outbox, pipeline_metrics, shutdown, telemetry};
use sqlx::PgPool;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::config::{RunArgs, Settings};
use crate::consume::{self, Consumption};
use crate::sync::runner::Runner;
use crate::sync::{requests, schedule};
use crate::vitals::{self, Vitals};
use crate::{gauges, project, retention};

const METRICS_EVERY: Duration = Duration::from_secs(1);
const RELAY_EVERY: Duration = Duration::from_millis(200);
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// What the parts of a worker share.
pub struct Parts {
    pub runner: Runner,
    pub tasks: TaskTracker,
    settings: Settings,
    /// Threads that wait for Kafka must not outlive the parts, however these come to an end.
    _stop: DropGuard,
}

/// Runs until it is asked to stop.
///
/// # Errors
/// When a setting cannot work, or Kafka's topics contradict the event contract.
pub async fn run(args: &RunArgs) -> anyhow::Result<()> {
    args.retention.check()?;
    let recorder = telemetry::start_metrics("worker", GaugeTtl::After(gauges::FORGET))?;
    gauges::describe();
    let stop = shutdown::on_signal()?;
    let parts = Parts::open(&args.settings, stop.clone())?;
    let listener = tokio::net::TcpListener::bind(args.metrics_listen).await.with_context(|| {
        format!("{} cannot be listened on; choose another with --metrics-listen", args.metrics_listen)
    })?;
    let kafka = KafkaProbe::new(&args.settings.kafka).context("Kafka's settings cannot be used")?;
    let vitals = Vitals { metrics: recorder, pool: parts.runner.pool.clone(), kafka, stop: stop.clone() };
    parts.tasks.spawn(vitals::serve(listener, vitals));
    parts.await_topics().await?;
    parts.tasks.spawn(gauges::keep(parts.runner.pool.clone(), args.settings.kafka.clone(), stop.clone()));
    parts.start_projecting();
    parts.start_requests();
    parts.start_relay();
    parts.tasks.spawn(keep_metrics(parts.runner.pool.clone(), stop.clone()));
    parts.tasks.spawn(retention::keep(parts.runner.pool.clone(), args.retention.clone(), stop.clone()));
    let _ticker = parts.start_ticker().await?;
    parts.tasks.spawn(parts.runner.clone().run(args.syncs_at_once.into()));
    tracing::info!(metrics = %args.metrics_listen, syncs_at_once = args.syncs_at_once, "the worker runs");
    stop.cancelled().await;
    parts.stop().await;
    Ok(())
}

impl Parts {
    /// Opens everything without waiting for any server.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn open(settings: &Settings, stop: CancellationToken) -> anyhow::Result<Self> {
        let keyring = Keyring::new(&settings.sealing)?;
        let pool = db::pool(&settings.database, "orchestration-worker")?;
        let producer = Producer::new(&settings.kafka).context("Kafka's settings cannot be used")?;
        let runner = Runner {
            pool,
            producer,
            keyring,
            network: settings.network,
            owner: Arc::from(Uuid::now_v7().to_string()),
            providers: Arc::default(),
            bell: Arc::new(Notify::new()),
            stop: stop.clone(),
        };
        let settings = settings.clone();
        Ok(Self { runner, tasks: TaskTracker::new(), settings, _stop: stop.drop_guard() })
    }

    /// Makes and checks the topics, waiting for Kafka as long as it is away.
    ///
    /// # Errors
    /// When an existing topic contradicts the event contract.
    pub async fn await_topics(&self) -> anyhow::Result<()> {
        loop {
            match ensure_topics(&self.settings.kafka).await {
                Ok(()) => return Ok(()),
                Err(error @ TopicError::NotVisible { .. }) if !self.runner.stop.is_cancelled() => {
                    tracing::info!(%error, "the topics are being made");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) if error.is_transient() && !self.runner.stop.is_cancelled() => {
                    tracing::warn!(%error, "the topics are not there yet; asking again");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Projects the state topics.
    pub fn start_projecting(&self) {
        self.start_consumer("projector", &Topic::STATE, project::apply);
    }

    /// Makes jobs of the requests on Kafka.
    pub fn start_requests(&self) {
        self.start_consumer("requests", &[Topic::SyncRequests], requests::apply);
    }

    fn start_consumer(&self, group: &'static str, topics: &'static [Topic], apply: consume::Apply) {
        let consumption = Consumption {
            kafka: self.settings.kafka.clone(),
            pool: self.runner.pool.clone(),
            group,
            topics,
            apply,
        };
        let stop = self.runner.stop.clone();
        let runtime = Handle::current();
        self.tasks.spawn_blocking(move || consume::run(&consumption, &runtime, &stop));
    }

    /// Sends what waits in the outbox.
    pub fn start_relay(&self) {
        let Runner { pool, producer, stop, .. } = self.runner.clone();
        self.tasks.spawn(relay(pool, producer, stop));
    }

    /// One ticker for all schedules.
    async fn start_ticker(&self) -> anyhow::Result<JobScheduler> {
        let runner = self.runner.clone();
        let scheduler = JobScheduler::new().await?;
        let tick = Job::new_async("* * * * * *", move |_, _| {
            let runner = runner.clone();
            Box::pin(async move { tick(&runner).await })
        })?;
        scheduler.add(tick).await?;
        scheduler.start().await?;
        let stop = self.runner.stop.clone();
        let mut stopping = scheduler.clone();
        self.tasks.spawn(async move {
            stop.cancelled().await;
            if let Err(error) = stopping.shutdown().await {
                tracing::warn!(%error, "the ticker did not stop");
            }
        });
        Ok(scheduler)
    }

    /// Waits until everything has ended, within a limit.
    pub async fn stop(self) {
        self.runner.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                "not everything ended in time; what was open is taken up again by the next worker"
            );
        }
        self.runner.producer.flush().await;
        tracing::info!("the worker has stopped");
    }
}

async fn tick(runner: &Runner) {
    gauges::ticks().increment(1);
    let made =
        async { Ok(schedule::tick(&runner.pool).await? as u64 + schedule::follow(&runner.pool).await?) };
    match made.await {
        Ok(0) => {}
        Ok::<u64, sqlx::Error>(_) => runner.bell.notify_one(),
        Err(error) => tracing::warn!(%error, "PostgreSQL does not answer; schedules wait"),
    }
}

async fn relay(pool: PgPool, producer: Producer, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match outbox::relay(&pool, &producer).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(%error, "the outbox waits");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(RELAY_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Readers count for themselves what is not kept, so that nothing is wrong when this is late.
async fn keep_metrics(pool: PgPool, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match pipeline_metrics::refresh(&pool).await {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => tracing::debug!(%error, "PostgreSQL does not answer; the metrics stay as they are"),
        }
        tokio::select! {
            () = tokio::time::sleep(METRICS_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}
