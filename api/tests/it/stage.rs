//! A world with Kafka: topics of its own, and a worker's parts that project what is sent there.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::DateTime;
use clap::Parser;
use contract::events::{Event, Observation, PipelineObserved, Record, RunObserved, Source, TaskRunObserved};
use contract::ids::ConnectorId;
use contract::state::{RunState, TaskState};
use platform::kafka::{KafkaConfig, Producer};
use tokio_util::sync::CancellationToken;
use worker::process::Parts;

use crate::made_events;
use crate::test_topics::test_prefix;
use crate::world::{OTHER_SPACE, SPACE, Setup, World, kafka, sealing_keys};

pub struct Stage {
    pub world: World,
    pub kafka: KafkaConfig,
    producer: Producer,
    worker: Parts,
    stop: CancellationToken,
    versions: AtomicI64,
}

impl Stage {
    /// A stage where events are projected and the outbox is relayed.
    pub async fn new() -> Self {
        let stage = Self::waiting(&local::kafka().await.unwrap()).await;
        stage.project();
        stage
    }

    /// A stage where nothing is projected yet.
    pub async fn waiting(servers: &str) -> Self {
        let kafka = kafka(servers, &test_prefix(servers).await);
        let world = World::with(Setup { kafka: kafka.clone(), ..Setup::default() }).await;
        let cli = worker::config::Cli::try_parse_from([
            "orchestration-worker",
            "run",
            "--database-url",
            &world.database.worker_url,
            "--kafka-bootstrap-servers",
            servers,
            "--kafka-prefix",
            &kafka.kafka_prefix,
            "--kafka-partitions",
            "2",
            "--sealing-keys",
            &sealing_keys("a"),
        ]);
        let worker::config::Command::Run(args) = cli.unwrap().command else {
            unreachable!("asked for `run`")
        };
        let stop = CancellationToken::new();
        let worker = Parts::open(&args.settings, stop.clone()).unwrap();
        worker.await_topics().await.unwrap();
        let producer = Producer::new(&kafka).unwrap();
        Self { world, kafka, producer, worker, stop, versions: AtomicI64::new(0) }
    }

    /// Begins to project and to relay.
    pub fn project(&self) {
        self.worker.start_projecting();
        self.worker.start_relay();
    }

    pub async fn send<E: Event>(&self, events: &[E]) {
        let records: Vec<Record> = events.iter().map(|event| Record::of(event).unwrap()).collect();
        self.producer.send(&records).await.unwrap();
    }

    /// A new state of a run of our space.
    pub fn run(&self, pipeline: &str, name: &str, status: RunState) -> RunObserved {
        self.run_of(self.world.connector, pipeline, name, status)
    }

    pub fn run_of(
        &self,
        connector: ConnectorId,
        pipeline: &str,
        name: &str,
        status: RunState,
    ) -> RunObserved {
        let seen = self.observe();
        let run = made_events::run(&self.source(connector), pipeline, name, status, seen);
        RunObserved { started_at: Some(seen.at), ..run }
    }

    pub fn task_run(&self, pipeline: &str, run: &str, task: &str, status: TaskState) -> TaskRunObserved {
        let source = self.source(self.world.connector);
        made_events::task_run(&source, (pipeline, run, task, -1), status, self.observe())
    }

    pub fn pipeline(&self, name: &str) -> PipelineObserved {
        let pipeline = made_events::pipeline(&self.source(self.world.connector), name, self.observe());
        PipelineObserved { description: Some("two\nlines".to_owned()), ..pipeline }
    }

    fn source(&self, connector_id: ConnectorId) -> Source {
        let space = if connector_id == self.world.connector { SPACE } else { OTHER_SPACE };
        Source { space: space.to_owned(), connector_id }
    }

    /// The next version, and a time that PostgreSQL keeps as it is.
    fn observe(&self) -> Observation {
        let version = self.versions.fetch_add(1, Ordering::SeqCst) + 1;
        Observation { version, at: DateTime::from_timestamp(1_770_000_000 + version, 0).unwrap() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
