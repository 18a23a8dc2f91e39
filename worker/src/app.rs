//! The worker as one program: the ticker, the runners, the relay and the consumers, started and stopped
//! together.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::TimeDelta;
use contract::events::Topic;
use platform::db::DatabaseConfig;
use platform::health::Heartbeat;
use platform::kafka::{KafkaProbe, Producer, TopicError, ensure_topics};
use platform::periodic::Periodic;
use platform::secrets::Keyring;
use platform::telemetry::GaugeTtl;
use platform::{db, pipeline_metrics, shutdown, telemetry};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::cli::{RunArgs, WorkerSettings};
use crate::consumer::{self, ConsumerConfig};
use crate::http::HealthServer;
use crate::queue::runner::Runner;
use crate::queue::{follow_ups, requests, schedule};
use crate::records::ApplyRecords;
use crate::retention::RetentionConfig;
use crate::watched_tasks::WatchedTasks;
use crate::{metrics, projection, relay, retention};

const METRICS_INTERVAL: Duration = Duration::from_secs(1);
const TOPICS_INTERVAL: Duration = Duration::from_millis(500);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How much longer than the timeout of a PostgreSQL response one iteration of a task may take.
const ITERATION_GRACE: Duration = Duration::from_secs(25);

/// The connections and background tasks of a worker.
pub struct Worker {
    pub runner: Runner,
    pub tasks: TaskTracker,
    watched: WatchedTasks,
    settings: WorkerSettings,
    /// Consumer threads must not outlive the worker, however it ends.
    _stop: DropGuard,
}

/// Runs until a signal stops it.
///
/// # Errors
/// When a setting cannot work, or Kafka's topics contradict the event contract.
pub async fn run(args: &RunArgs) -> anyhow::Result<()> {
    args.retention.check()?;
    let recorder = telemetry::start_metrics("worker", GaugeTtl::After(metrics::GAUGE_TTL))?;
    metrics::describe();
    let stop = shutdown::on_signal()?;
    let worker = Worker::open(&args.settings, stop.clone())?;
    let pool = worker.runner.pool.clone();
    let listener = TcpListener::bind(args.metrics_listen).await.with_context(|| {
        format!("{} cannot be listened on; choose another with --metrics-listen", args.metrics_listen)
    })?;
    let kafka = KafkaProbe::new(&args.settings.kafka).context("Kafka's settings cannot be used")?;
    let heartbeats = worker.watched.heartbeats().clone();
    let server =
        HealthServer { metrics: recorder, pool: pool.clone(), kafka, heartbeats, stop: stop.clone() };
    worker.tasks.spawn(server.serve(listener));
    worker.await_topics().await?;
    worker.start_projecting();
    worker.start_requests();
    worker.start_relay();
    worker.start_maintenance(&args.retention);
    worker.tasks.spawn(worker.watched.clone().stop_on_stalled_task());
    let _ticker = worker.start_ticker().await?;
    let (runner, concurrency) = (worker.runner.clone(), args.syncs_at_once.into());
    worker.watched.spawn("runner", |heartbeat| runner.run(concurrency, heartbeat));
    tracing::info!(metrics = %args.metrics_listen, syncs_at_once = args.syncs_at_once, "worker started");
    stop.cancelled().await;
    let watched = worker.watched.clone();
    worker.stop().await;
    match watched.find_failed() {
        Some(task) => bail!("the worker's {task} does not go on; see the log lines before"),
        None => Ok(()),
    }
}

impl Worker {
    /// Opens all connections without waiting for any server.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn open(settings: &WorkerSettings, stop: CancellationToken) -> anyhow::Result<Self> {
        let keyring = Keyring::new(&settings.sealing)?;
        let pool = db::pool(&settings.database, "orchestration-worker")?;
        let producer = Producer::new(&settings.kafka).context("Kafka's settings cannot be used")?;
        let control = DatabaseConfig {
            database_connections: settings.control_connections,
            ..settings.database.clone()
        };
        let runner = Runner {
            pool,
            control: db::pool(&control, "orchestration-worker-control")?,
            producer,
            keyring,
            network: settings.network,
            overlap: TimeDelta::seconds(settings.poll_overlap.into()),
            owner: Arc::from(Uuid::now_v7().to_string()),
            providers: Arc::default(),
            job_ready: Arc::new(Notify::new()),
            stop: stop.clone(),
        };
        let (settings, tasks) = (settings.clone(), TaskTracker::new());
        let limit = settings.database.response_timeout() + ITERATION_GRACE;
        let watched = WatchedTasks::new(limit, tasks.clone(), stop.clone());
        Ok(Self { runner, tasks, watched, settings, _stop: stop.drop_guard() })
    }

    /// Creates and checks the topics. It waits until Kafka is available.
    ///
    /// # Errors
    /// When an existing topic contradicts the event contract.
    pub async fn await_topics(&self) -> anyhow::Result<()> {
        loop {
            match ensure_topics(&self.settings.kafka).await {
                Ok(()) => return Ok(()),
                Err(error) if self.runner.stop.is_cancelled() => return Err(error.into()),
                Err(error @ TopicError::NotVisible { .. }) => {
                    tracing::info!(%error, "topics are being created")
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "topics not available; retrying")
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(TOPICS_INTERVAL).await;
        }
    }

    /// Starts the projection of the state topics.
    pub fn start_projecting(&self) {
        self.start_consumer("projector", &Topic::STATE, projection::apply);
    }

    /// Starts the consumer that enqueues the sync requests from Kafka.
    pub fn start_requests(&self) {
        self.start_consumer("requests", &[Topic::SyncRequests], requests::apply);
    }

    fn start_consumer(&self, group: &'static str, topics: &'static [Topic], apply: ApplyRecords) {
        let (kafka, pool) = (self.settings.kafka.clone(), self.runner.control.clone());
        let (runtime, stop) = (Handle::current(), self.runner.stop.clone());
        self.watched.spawn_blocking(group, move |heartbeat| {
            let config = ConsumerConfig { kafka, pool, group, topics, apply, heartbeat };
            consumer::run(&config, &runtime, &stop);
        });
    }

    /// Starts the relay, which sends the records of the outbox to Kafka.
    pub fn start_relay(&self) {
        let Runner { control, producer, stop, .. } = self.runner.clone();
        self.watched.spawn("relay", |heartbeat| relay::run(control, producer, heartbeat, stop));
    }

    /// Starts the tasks that refresh metrics and remove old rows.
    fn start_maintenance(&self, retention: &RetentionConfig) {
        let Runner { pool, stop, .. } = self.runner.clone();
        let kafka = self.settings.kafka.clone();
        self.watched.spawn("metrics", |heartbeat| metrics::run(pool, kafka, heartbeat, stop));
        let Runner { pool, stop, .. } = self.runner.clone();
        self.watched.spawn("pipeline metrics", |heartbeat| refresh_run_metrics(pool, heartbeat, stop));
        let (Runner { pool, stop, .. }, config) = (self.runner.clone(), retention.clone());
        self.watched.spawn("retention", |heartbeat| retention::run(pool, config, heartbeat, stop));
    }

    /// Starts the ticker, which evaluates all schedules every second. The seconds that begin during one tick
    /// share the next tick.
    async fn start_ticker(&self) -> anyhow::Result<JobScheduler> {
        let second = Arc::new(Notify::new());
        let (runner, seconds) = (self.runner.clone(), second.clone());
        self.watched.spawn("ticker", |heartbeat| run_ticker(runner, seconds, heartbeat));
        let scheduler = JobScheduler::new().await?;
        let tick = Job::new("* * * * * *", move |_, _| second.notify_one())?;
        scheduler.add(tick).await?;
        scheduler.start().await?;
        let stop = self.runner.stop.clone();
        let mut stopping = scheduler.clone();
        self.tasks.spawn(async move {
            stop.cancelled().await;
            if let Err(error) = stopping.shutdown().await {
                tracing::warn!(%error, "ticker not stopped");
            }
        });
        Ok(scheduler)
    }

    /// Stops all tasks and waits for them, up to a timeout.
    pub async fn stop(self) {
        self.runner.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("stop timed out; the next worker resumes the open syncs");
        }
        self.runner.producer.flush().await;
        tracing::info!("worker stopped");
    }
}

/// Ticks whenever a second has begun, until stopped.
async fn run_ticker(runner: Runner, seconds: Arc<Notify>, heartbeat: Heartbeat) {
    loop {
        tokio::select! {
            () = seconds.notified() => {}
            () = runner.stop.cancelled() => return,
        }
        heartbeat.record();
        tick(&runner).await;
    }
}

/// Enqueues due syncs and follow-ups, and wakes the runner if there are any.
async fn tick(runner: &Runner) {
    metrics::count_tick();
    let enqueue = async {
        let due = schedule::enqueue_due(&runner.control).await?;
        Ok::<usize, sqlx::Error>(due + follow_ups::enqueue_follow_ups(&runner.control).await?)
    };
    match enqueue.await {
        Ok(0) => {}
        Ok(_) => runner.job_ready.notify_one(),
        Err(error) => tracing::warn!(%error, "schedules not evaluated"),
    }
}

/// Refreshes the stored metrics of pipelines. Best effort: the API computes outdated ones itself, so a delay
/// here is harmless.
async fn refresh_run_metrics(pool: PgPool, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut ticks = Periodic::new(METRICS_INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        match pipeline_metrics::refresh(&pool).await {
            Ok(0) => {}
            Ok(_) => ticks.skip_pause(),
            Err(error) => {
                tracing::debug!(%error, "pipeline metrics not refreshed");
            }
        }
    }
}
