//! A whole installation under test: the API's fixture with Kafka, and the worker's process, which projects
//! what a test publishes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use contract::events::{Event, Observation, PipelineObserved, Record, RunObserved, Source, TaskRunObserved};
use contract::ids::ConnectorId;
use contract::state::{RunState, TaskState};
use platform::kafka::{KafkaConfig, Producer};
use testkit::{ProgramSettings, WorkerProcess, sealing_keys};

use crate::app::{ApiSetup, OTHER_SPACE, SPACE, TestApi};

pub(crate) struct TestInstallation {
    pub api: TestApi,
    pub kafka: KafkaConfig,
    /// The settings of an API process; the database URL has the API's role.
    pub settings: ProgramSettings,
    producer: Producer,
    worker: OnceLock<WorkerProcess>,
    versions: AtomicI64,
}

impl TestInstallation {
    /// An installation whose worker runs.
    pub(crate) async fn start() -> Self {
        let test = Self::idle(&local::kafka().await.unwrap()).await;
        test.start_worker().await;
        test
    }

    /// An installation whose topics exist, and whose worker does not run yet.
    pub(crate) async fn idle(servers: &str) -> Self {
        let kafka = testkit::test_topics(servers).await;
        testkit::create_topics(&kafka).await;
        let api = TestApi::with(ApiSetup { kafka: kafka.clone(), ..ApiSetup::default() }).await;
        let settings = ProgramSettings {
            database_url: api.database.api_url.clone(),
            kafka: kafka.clone(),
            sealing_keys: sealing_keys("a"),
        };
        let producer = Producer::new(&kafka).unwrap();
        // The versions that tests make up are drawn already.
        let draw = sqlx::query("select setval('observation_version', 1000000)");
        draw.execute(&api.database.pool).await.unwrap();
        Self { api, kafka, settings, producer, worker: OnceLock::new(), versions: AtomicI64::new(0) }
    }

    /// Starts the worker, which projects events and relays the outbox.
    pub(crate) async fn start_worker(&self) {
        let database_url = self.api.database.worker_url.clone();
        let settings = ProgramSettings { database_url, ..self.settings.clone() };
        let worker = WorkerProcess::start(&settings, &[]).await;
        assert!(self.worker.set(worker).is_ok(), "the worker runs already");
    }

    pub(crate) async fn send<E: Event>(&self, events: &[E]) {
        let records: Vec<Record> = events.iter().map(|event| Record::of(event).unwrap()).collect();
        self.producer.send(&records).await.unwrap();
    }

    /// A new state of a run in the first space.
    pub(crate) fn run(&self, pipeline: &str, name: &str, status: RunState) -> RunObserved {
        self.run_of(self.api.connector, pipeline, name, status)
    }

    pub(crate) fn run_of(
        &self,
        connector: ConnectorId,
        pipeline: &str,
        name: &str,
        status: RunState,
    ) -> RunObserved {
        let observation = self.observe();
        let run = testkit::events::run(&self.source(connector), pipeline, name, status, observation);
        RunObserved { started_at: Some(observation.at), ..run }
    }

    pub(crate) fn task_run(
        &self,
        pipeline: &str,
        run: &str,
        task: &str,
        status: TaskState,
    ) -> TaskRunObserved {
        let source = self.source(self.api.connector);
        testkit::events::task_run(&source, (pipeline, run, task, -1), status, self.observe())
    }

    pub(crate) fn pipeline(&self, name: &str) -> PipelineObserved {
        let source = self.source(self.api.connector);
        let pipeline = testkit::events::pipeline(&source, name, self.observe());
        PipelineObserved { description: Some("two\nlines".to_owned()), ..pipeline }
    }

    fn source(&self, connector_id: ConnectorId) -> Source {
        let space = if connector_id == self.api.connector { SPACE } else { OTHER_SPACE };
        Source { space: space.to_owned(), connector_id }
    }

    /// The next version, observed at a time that PostgreSQL stores without rounding.
    fn observe(&self) -> Observation {
        let version = self.versions.fetch_add(1, Ordering::SeqCst) + 1;
        Observation { version, at: DateTime::from_timestamp(1_770_000_000 + version, 0).unwrap() }
    }
}
