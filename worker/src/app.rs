//! The worker as one program: the ticker, the runners, the relay and the consumers, started and stopped
//! together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use chrono::TimeDelta;
use contract::events::Topic;
use platform::db::{DatabaseConfig, ServerCheckError};
use platform::health::Heartbeat;
use platform::kafka::{KafkaProbe, Producer, TopicError, ensure_topics};
use platform::periodic::Periodic;
use platform::secrets::Keyring;
use platform::telemetry::GaugeTtl;
use platform::watched_tasks::WatchedTasks;
use platform::{db, pipeline_metrics, shutdown, telemetry};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::cli::{RunArgs, WorkerSettings};
use crate::consumer::{self, ConsumerConfig};
use crate::http::{HealthServer, Outage};
use crate::notifications::{self, Deliverer, Sender};
use crate::queue::runner::{MAX_HISTORIES, Runner};
use crate::queue::{deleted_connectors, follow_ups, requests, schedule};
use crate::records::ApplyRecords;
use crate::retention::RetentionConfig;
use crate::{expectations, metrics, projection, relay, retention, signals};

const METRICS_INTERVAL: Duration = Duration::from_secs(1);
const TOPICS_INTERVAL: Duration = Duration::from_millis(500);
/// How long to wait for as many brokers as topics have replicas: some may start later than the worker.
const BROKERS_TIMEOUT: Duration = Duration::from_secs(60);
const READ_MODEL_RETRY_INTERVAL: Duration = Duration::from_secs(1);
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
    let sender = worker.open_sender(args)?;
    let Runner { pool, control, .. } = worker.runner.clone();
    let listener = TcpListener::bind(args.metrics_listen).await.with_context(|| {
        format!("{} cannot be listened on; choose another with --metrics-listen", args.metrics_listen)
    })?;
    let kafka = KafkaProbe::new(&args.settings.kafka).context("Kafka's settings cannot be used")?;
    let heartbeats = worker.watched.heartbeats().clone();
    let (metrics, outage) = (recorder, Outage::default());
    let server = HealthServer { metrics, pool, control, kafka, heartbeats, stop, outage };
    worker.tasks.spawn(server.clone().serve(listener));
    let pools = [&server.control, &server.pool];
    let refused = find_refusal(&pools, &server.stop);
    tokio::select! {
        refused = refused => Err(refused.into()),
        ended = work(worker, args, sender) => ended,
    }
}

/// Works until a signal or a failed task stops the worker.
async fn work(worker: Worker, args: &RunArgs, sender: Sender) -> anyhow::Result<()> {
    let _ticker = worker.start(args).await?;
    worker.start_notifications(sender);
    tracing::info!(metrics = %args.metrics_listen, syncs_at_once = args.syncs_at_once, "worker started");
    worker.wait_and_stop().await
}

/// Returns why PostgreSQL cannot be used in the way in which it is reached; waits without end if it can.
async fn find_refusal(pools: &[&PgPool], stop: &CancellationToken) -> ServerCheckError {
    match db::check_server(pools, stop).await {
        Ok(()) => std::future::pending().await,
        Err(refused) => refused,
    }
}

impl Worker {
    /// Opens all connections without waiting for any server.
    ///
    /// # Errors
    /// When a setting cannot work.
    pub fn open(settings: &WorkerSettings, stop: CancellationToken) -> anyhow::Result<Self> {
        settings.network.check()?;
        settings.kafka.check()?;
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
            network: settings.network.clone(),
            overlap: TimeDelta::seconds(settings.poll_overlap.into()),
            owner: Arc::from(Uuid::now_v7().to_string()),
            providers: Arc::default(),
            history_permits: Arc::new(Semaphore::new(MAX_HISTORIES)),
            job_ready: Arc::new(Notify::new()),
            stop: stop.clone(),
        };
        let (settings, tasks) = (settings.clone(), TaskTracker::new());
        let limit = settings.database.response_timeout() + ITERATION_GRACE;
        let watched = WatchedTasks::new(limit, tasks.clone(), stop.clone());
        Ok(Self { runner, tasks, watched, settings, _stop: stop.drop_guard() })
    }

    /// Starts the consumers and the relay once Kafka is available, and what reads the read model once it
    /// contains what was published before, or has made no progress for a minute.
    ///
    /// # Errors
    /// When an existing topic contradicts the event contract.
    pub async fn start(&self, args: &RunArgs) -> anyhow::Result<JobScheduler> {
        self.await_topics().await?;
        self.tasks.spawn(self.watched.clone().stop_on_stalled_task());
        self.start_projecting();
        self.start_requests();
        self.start_relay();
        self.start_maintenance(&args.retention);
        self.await_read_model().await;
        self.start_deactivation();
        self.start_signals();
        let (runner, concurrency) = (self.runner.clone(), args.syncs_at_once.into());
        self.watched.spawn("runner", |heartbeat| runner.run(concurrency, heartbeat));
        self.start_ticker().await
    }

    /// Creates and checks the topics. It waits until Kafka is available.
    ///
    /// # Errors
    /// When an existing topic contradicts the event contract, or there are too few brokers for a minute.
    pub async fn await_topics(&self) -> anyhow::Result<()> {
        let until = Instant::now() + BROKERS_TIMEOUT;
        let is_retried = |error: &TopicError| {
            error.is_transient() || error.is_for_lack_of_brokers() && Instant::now() < until
        };
        loop {
            match ensure_topics(&self.settings.kafka).await {
                Ok(()) => return Ok(()),
                Err(error) if self.runner.stop.is_cancelled() => return Err(error.into()),
                Err(error @ TopicError::NotVisible { .. }) => {
                    tracing::info!(%error, "topics are being created")
                }
                Err(error) if is_retried(&error) => {
                    tracing::warn!(%error, "topics not available; retrying")
                }
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(TOPICS_INTERVAL).await;
        }
    }

    /// Waits until the read model contains what the state topics contain now. A sync would otherwise publish
    /// again what was published before a restore, or before a worker was killed. It does not wait for a
    /// projection that makes no progress for a minute.
    pub async fn await_read_model(&self) {
        let projected = async {
            loop {
                match self.find_unprojected().await {
                    Ok(0) => break,
                    Ok(records) => {
                        tracing::warn!(records, "read model still behind; syncs start");
                        break;
                    }
                    Err(error) => tracing::warn!(%error, "read model not compared with the topics; retrying"),
                }
                tokio::time::sleep(READ_MODEL_RETRY_INTERVAL).await;
            }
        };
        tokio::select! {
            () = projected => {}
            () = self.runner.stop.cancelled() => {}
        }
    }

    async fn find_unprojected(&self) -> anyhow::Result<i64> {
        let ends = consumer::find_ends(&self.settings.kafka, &Topic::STATE).await?;
        Ok(projection::await_projected(&self.runner.control, &ends).await?)
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

    /// Starts the task that deactivates the pipelines of deleted connectors.
    pub fn start_deactivation(&self) {
        let Runner { pool, producer, owner, stop, .. } = self.runner.clone();
        self.watched.spawn("deleted connectors", |heartbeat| {
            deleted_connectors::run(pool, producer, owner.to_string(), heartbeat, stop)
        });
    }

    /// Starts the tasks that learn what is usual, and evaluate signals.
    pub fn start_signals(&self) {
        let Runner { pool, stop, .. } = self.runner.clone();
        self.watched.spawn("expectations", |heartbeat| expectations::run(pool, heartbeat, stop));
        let Runner { pool, stop, .. } = self.runner.clone();
        self.watched.spawn("signals", |heartbeat| signals::run(pool, heartbeat, stop));
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

    /// Returns what notifications are sent with.
    ///
    /// # Errors
    /// When a setting cannot work.
    fn open_sender(&self, args: &RunArgs) -> anyhow::Result<Sender> {
        let Runner { keyring, network, .. } = self.runner.clone();
        Sender::new(keyring, network, &args.notifications)
    }

    /// Starts the tasks that write notifications and deliver them.
    fn start_notifications(&self, sender: Sender) {
        let Runner { pool, stop, .. } = self.runner.clone();
        let deliverer = Deliverer::new(pool.clone(), sender, stop.clone());
        self.watched.spawn("dispatcher", |heartbeat| notifications::run_dispatcher(pool, heartbeat, stop));
        self.watched.spawn("deliverer", |heartbeat| deliverer.run(heartbeat));
    }

    /// Starts the ticker, which evaluates all schedules every second. The seconds that begin during one tick
    /// share the next tick.
    pub async fn start_ticker(&self) -> anyhow::Result<JobScheduler> {
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

    /// Waits until a signal or a failed task stops the worker, and stops all tasks.
    ///
    /// # Errors
    /// When a task has panicked, ended early or stalled.
    async fn wait_and_stop(self) -> anyhow::Result<()> {
        self.runner.stop.cancelled().await;
        let watched = self.watched.clone();
        self.stop().await;
        match watched.find_failed() {
            Some(task) => bail!("the worker's {task} does not go on; see the log lines before"),
            None => Ok(()),
        }
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
        let due = schedule::enqueue_due(&runner.control).await?
            + schedule::enqueue_full_syncs(&runner.control).await?;
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
            Ok(false) => {}
            Ok(true) => ticks.skip_pause(),
            Err(error) => {
                tracing::debug!(%error, "pipeline metrics not refreshed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{WorkerCli, WorkerCommand};

    #[tokio::test]
    async fn a_worker_whose_task_panics_ends_with_an_error_that_names_the_task() {
        let arguments = [
            "orchestration-worker",
            "run",
            "--database-url",
            "postgres://nobody@127.0.0.1:1/none",
            "--kafka-bootstrap-servers",
            "127.0.0.1:1",
            "--sealing-keys",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ];
        let WorkerCommand::Run(args) = WorkerCli::try_parse_from(arguments).unwrap().command else {
            unreachable!("the command is `run`")
        };
        let worker = Worker::open(&args.settings, CancellationToken::new()).unwrap();
        worker.watched.spawn_blocking("projector", |_| panic!("a record that cannot be read"));
        let ended = tokio::time::timeout(Duration::from_secs(60), worker.wait_and_stop());
        let error = ended.await.expect("the worker ends").unwrap_err();
        assert!(error.to_string().contains("projector"), "{error}");
    }
}
