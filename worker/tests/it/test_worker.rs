//! One worker under test: a database, topics and a connector of its own, and the worker, run in this
//! process.

use std::time::Duration;

use chrono::SubsecRound;
use clap::Parser;
use contract::events::{Event, Observation, PipelineObserved, Record, RunObserved, Source, TaskRunObserved};
use contract::ids::{ConnectorId, SyncId};
use contract::state::{RunState, TaskState};
use platform::kafka::{KafkaConfig, Producer};
use provider::connector::Credentials;
use sqlx::PgPool;
use testkit::{FakeProvider, ProgramSettings, SeededSync, sealing_keys};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::app::Worker;
use worker::cli::{WorkerCli, WorkerCommand, WorkerSettings};
use worker::queue::runner::Runner;
use worker::queue::{claim, finish};
use worker::store::connector_state;
use worker::sync::{SyncError, SyncJob, SyncOutcome, SyncProgress, sync_connector};

const TIMEOUT: Duration = Duration::from_secs(120);

pub(crate) struct TestWorker {
    /// The settings of a worker's process; the database URL has the worker's role.
    pub settings: ProgramSettings,
    /// Connections with the owner's role, to set up and to look at rows.
    pub pool: PgPool,
    owner_url: String,
    pub connector: ConnectorId,
    pub worker: Worker,
}

impl TestWorker {
    /// A worker whose topics exist, without a started task.
    pub(crate) async fn idle() -> Self {
        Self::idle_with(&local::kafka().await.unwrap()).await
    }

    /// An idle worker on this Kafka.
    pub(crate) async fn idle_with(kafka: &str) -> Self {
        let database = local::test_database().await.unwrap();
        Self::on(database.url, &database.worker_url, database.pool, kafka).await
    }

    /// A worker with a started projection and relay.
    pub(crate) async fn start() -> Self {
        let test = Self::idle().await;
        test.worker.start_projecting();
        test.worker.start_relay();
        test
    }

    /// An idle worker on a PostgreSQL server of its own, to be killed or measured, and on this Kafka.
    pub(crate) async fn isolated(postgres: &str, kafka: &str) -> Self {
        let admin = local::postgres_instance(postgres).await.unwrap();
        let database = format!("test_{}", Uuid::new_v4().simple());
        let url = local::ensure_database(&admin, &database).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        platform::db::migrate(&pool).await.unwrap();
        Self::on(url.clone(), &url, pool, kafka).await
    }

    async fn on(owner_url: String, worker_url: &str, pool: PgPool, kafka: &str) -> Self {
        let settings = ProgramSettings {
            database_url: worker_url.to_owned(),
            kafka: testkit::test_topics(kafka).await,
            sealing_keys: sealing_keys("a"),
        };
        testkit::create_space(&pool, "test").await;
        let config = serde_json::json!({"base_url": "http://127.0.0.1:1/", "schedule": "* * * * * *"});
        let connector = testkit::create_connector(&pool, "test", "airflow", config).await;
        // Lower versions are reserved for the events that tests build.
        sqlx::query("select setval('observation_version', 1000)").execute(&pool).await.unwrap();
        let worker = Worker::open(&parse(&settings), CancellationToken::new()).unwrap();
        worker.await_topics().await.unwrap();
        Self { settings, pool, owner_url, connector, worker }
    }

    /// Points the connector at a real Airflow.
    pub(crate) async fn connect(&self, airflow: &local::AirflowServer) {
        let credentials = Credentials::Basic {
            username: airflow.username.clone(),
            password: airflow.password.clone().into(),
        };
        let keyring = &self.worker.runner.keyring;
        testkit::store_credentials(&self.pool, self.connector, keyring, &credentials.into()).await;
        self.set_base_url(&airflow.url).await;
    }

    /// Gives the connector another address.
    pub(crate) async fn set_base_url(&self, url: &str) {
        sqlx::query(
            "update connectors set config = config || jsonb_build_object('base_url', $2) where id = $1",
        )
        .bind(self.connector)
        .bind(url)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Another worker with the same settings, projecting.
    pub(crate) fn start_another(&self) -> Worker {
        let worker = Worker::open(&parse(&self.settings), CancellationToken::new()).unwrap();
        worker.start_projecting();
        worker
    }

    /// Another worker on this database URL, with further arguments. None of its tasks is started.
    pub(crate) fn open_worker(&self, database_url: &str, arguments: &[&str]) -> Worker {
        let settings = ProgramSettings { database_url: database_url.to_owned(), ..self.settings.clone() };
        Worker::open(&parse_with(&settings, arguments), CancellationToken::new()).unwrap()
    }

    pub(crate) fn producer(&self) -> &Producer {
        &self.worker.runner.producer
    }

    pub(crate) fn kafka(&self) -> &KafkaConfig {
        &self.settings.kafka
    }

    pub(crate) async fn send<E: Event>(&self, events: &[E]) {
        let records: Vec<Record> = events.iter().map(|event| Record::of(event).unwrap()).collect();
        self.producer().send(&records).await.unwrap();
    }

    /// Inserts a manual sync that waits for a worker.
    pub(crate) async fn enqueue_sync(&self, full: bool, accept_mass_deletion: bool) -> SyncId {
        let sync = SeededSync { full, accept_mass_deletion, ..SeededSync::default() };
        testkit::insert_sync(&self.pool, self.connector, sync).await
    }

    /// Claims the connector's waiting syncs, as a runner does.
    pub(crate) async fn claim(&self) -> SyncJob {
        let runner = &self.worker.runner;
        let lease =
            connector_state::lease(&runner.pool, "test", Some(self.connector)).await.unwrap().unwrap();
        let mut db = runner.pool.acquire().await.unwrap();
        claim::claim(&mut db, lease, &runner.keyring, runner.overlap).await.unwrap().unwrap().job.unwrap()
    }

    pub(crate) async fn enqueue_and_claim(&self, full: bool) -> SyncJob {
        self.enqueue_sync(full, false).await;
        self.claim().await
    }

    /// Enqueues a sync and lets the runner execute it, with the connector's own provider.
    pub(crate) async fn run_sync(&self, full: bool) -> Result<SyncOutcome, SyncError> {
        self.enqueue_sync(full, false).await;
        self.run_next().await
    }

    /// Lets the runner execute the queued sync, with the connector's own provider.
    pub(crate) async fn run_next(&self) -> Result<SyncOutcome, SyncError> {
        let progress = watch::Sender::default();
        self.worker.runner.run_next(Some(self.connector), &progress).await.unwrap().unwrap()
    }

    /// Enqueues a sync and executes it with a fake provider.
    pub(crate) async fn sync(&self, provider: &FakeProvider, full: bool) -> Result<SyncOutcome, SyncError> {
        let job = self.enqueue_and_claim(full).await;
        self.sync_job(provider, &job).await
    }

    pub(crate) async fn sync_job(
        &self,
        provider: &FakeProvider,
        job: &SyncJob,
    ) -> Result<SyncOutcome, SyncError> {
        let progress = watch::Sender::default();
        let outcome = self.run_pass(provider, job, &progress).await;
        let pool = &self.worker.runner.pool;
        let outcome = match outcome {
            Ok(synced) => finish::succeed(pool, job, &synced).await.map(|()| synced),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            let progress = progress.borrow().clone();
            finish::fail(pool, job.lease, &job.syncs, error, &progress).await.unwrap();
        }
        outcome
    }

    /// Executes a job, and does not finish it.
    pub(crate) async fn run_pass(
        &self,
        provider: &FakeProvider,
        job: &SyncJob,
        progress: &watch::Sender<SyncProgress>,
    ) -> Result<SyncOutcome, SyncError> {
        let Runner { pool, producer, history_permits, .. } = &self.worker.runner;
        sync_connector(pool, producer, job, provider, progress, history_permits).await
    }

    /// Runs one of the worker's commands and returns its standard output.
    pub(crate) async fn run_command(&self, arguments: &[&str]) -> String {
        testkit::stdout_of(self.settings.worker(arguments).await).await
    }

    /// Runs a command with the owner's role and returns its standard output.
    pub(crate) async fn run_command_as_owner(&self, arguments: &[&str]) -> String {
        testkit::stdout_of(self.owner_settings().worker(arguments).await).await
    }

    /// Runs a command that must fail, with the worker's role, and returns its standard error.
    pub(crate) async fn run_failing_command(&self, arguments: &[&str]) -> String {
        stderr_of_failure(self.settings.worker(arguments).await).await
    }

    /// Runs a command that must fail, with the owner's role, and returns its standard error.
    pub(crate) async fn run_failing_command_as_owner(&self, arguments: &[&str]) -> String {
        stderr_of_failure(self.owner_settings().worker(arguments).await).await
    }

    /// The settings with the owner's role.
    pub(crate) fn owner_settings(&self) -> ProgramSettings {
        ProgramSettings { database_url: self.owner_url.clone(), ..self.settings.clone() }
    }

    /// Waits until a query returns true.
    pub(crate) async fn wait_for(&self, query: &str) {
        self.wait_for_within(TIMEOUT, query).await;
    }

    pub(crate) async fn wait_for_within(&self, timeout: Duration, query: &str) {
        testkit::eventually_true(&self.pool, timeout, query).await;
    }

    /// A number from the database.
    pub(crate) async fn number(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.pool).await.unwrap()
    }

    /// Executes a statement as the owner.
    pub(crate) async fn execute(&self, statement: &'static str) {
        sqlx::raw_sql(statement).execute(&self.pool).await.unwrap();
    }

    /// The URL of the database with the owner's role.
    pub(crate) fn owner_url(&self) -> &str {
        &self.owner_url
    }

    pub(crate) async fn read_model(&self) -> Vec<String> {
        read_model(&self.pool).await
    }

    pub(crate) fn pipeline(&self, name: &str, version: i64) -> PipelineObserved {
        PipelineObserved {
            description: Some("as of every day".to_owned()),
            owner: Some("ada".to_owned()),
            owners: vec!["ada".to_owned(), "bob".to_owned()],
            tags: vec!["finance".to_owned()],
            schedule: Some("0 5 * * *".to_owned()),
            provider_metadata: serde_json::json!({"a": [1, 2.5, "x"], "b": null}),
            first_seen_at: chrono::DateTime::UNIX_EPOCH,
            ..testkit::events::pipeline(&self.source(), name, observation(version))
        }
    }

    pub(crate) fn run(&self, pipeline: &str, name: &str, version: i64, status: RunState) -> RunObserved {
        RunObserved {
            run_after: Some((chrono::Utc::now() - chrono::TimeDelta::minutes(5)).trunc_subsecs(6)),
            duration_seconds: status.is_finished().then_some(12.5),
            conf: serde_json::json!({"k": "v"}).into(),
            conf_bytes: None,
            truncated: false,
            ..testkit::events::run(&self.source(), pipeline, name, status, observation(version))
        }
    }

    pub(crate) fn task_run(
        &self,
        pipeline: &str,
        run: &str,
        task: &str,
        map_index: i32,
        status: TaskState,
    ) -> TaskRunObserved {
        let now = Observation { version: 1, at: chrono::Utc::now() };
        TaskRunObserved {
            operator: Some("PythonOperator".to_owned()),
            ..testkit::events::task_run(&self.source(), (pipeline, run, task, map_index), status, now)
        }
    }

    fn source(&self) -> Source {
        Source { space: "test".to_owned(), connector_id: self.connector }
    }
}

/// Every row of the read model as text, in order. Offsets are left out, so that a replay gives the same text.
pub(crate) async fn read_model(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select row::text from (
             select 1 as kind, id, to_jsonb(p) - 'log_offset' as row from pipelines p
             union all select 2, id, to_jsonb(r) - 'log_offset' from runs r
             union all select 3, id, to_jsonb(t) - 'log_offset' from task_runs t) rows
         order by kind, id",
    )
    .fetch_all(db)
    .await
    .unwrap()
}

/// An observation whose time is `version` seconds after the epoch.
fn observation(version: i64) -> Observation {
    Observation { version, at: chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(version) }
}

impl Drop for TestWorker {
    fn drop(&mut self) {
        self.worker.runner.stop.cancel();
    }
}

async fn stderr_of_failure(command: std::process::Command) -> String {
    let description = format!("{command:?}");
    let output = testkit::output_of(command).await;
    assert!(!output.status.success(), "{description}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The settings as the worker's command line parses them.
fn parse(settings: &ProgramSettings) -> WorkerSettings {
    parse_with(settings, &[])
}

fn parse_with(settings: &ProgramSettings, arguments: &[&str]) -> WorkerSettings {
    let kafka = &settings.kafka;
    let partitions = kafka.kafka_partitions.to_string();
    let common = [
        "orchestration-worker",
        "run",
        "--database-url",
        &settings.database_url,
        "--kafka-bootstrap-servers",
        &kafka.kafka_bootstrap_servers,
        "--kafka-prefix",
        &kafka.kafka_prefix,
        "--kafka-partitions",
        &partitions,
        "--sealing-keys",
        &settings.sealing_keys,
        "--allow-private-networks",
    ];
    let cli = WorkerCli::try_parse_from(common.iter().chain(arguments));
    let WorkerCommand::Run(args) = cli.unwrap().command else { unreachable!("the command is `run`") };
    args.settings
}
