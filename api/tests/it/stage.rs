//! A world with Kafka: topics of its own, and a worker's parts that project what is sent there.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};
use clap::Parser;
use shared::events::{Event, PipelineObserved, Record, RunObserved, TaskRunObserved};
use shared::ids::{ConnectorId, PipelineId, RunId, TaskRunId};
use shared::kafka::{KafkaConfig, Producer};
use shared::state::{RunState, RunType, TaskState};
use tokio_util::sync::CancellationToken;
use worker::process::Parts;

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
        let (version, at) = self.observe();
        RunObserved {
            id: RunId::of(connector, pipeline, name),
            space: self.space_of(connector),
            connector_id: connector,
            provider: "airflow".to_owned(),
            external_id: name.to_owned(),
            version,
            observed_at: at,
            deleted: false,
            pipeline_id: PipelineId::of(connector, pipeline),
            pipeline_external_id: pipeline.to_owned(),
            status,
            provider_status: Some(status.to_string()),
            run_type: RunType::Manual,
            logical_date: None,
            data_interval_start: None,
            data_interval_end: None,
            run_after: None,
            queued_at: None,
            started_at: Some(at),
            ended_at: None,
            duration_seconds: None,
            conf: serde_json::json!({}),
            note: None,
            triggered_by: None,
            external_url: None,
        }
    }

    pub fn task_run(&self, pipeline: &str, run: &str, task: &str, status: TaskState) -> TaskRunObserved {
        let connector = self.world.connector;
        let (version, at) = self.observe();
        TaskRunObserved {
            id: TaskRunId::of(connector, pipeline, run, task, -1),
            space: self.space_of(connector),
            connector_id: connector,
            provider: "airflow".to_owned(),
            external_id: format!("{pipeline}/{run}/{task}/-1"),
            version,
            observed_at: at,
            deleted: false,
            pipeline_id: PipelineId::of(connector, pipeline),
            pipeline_external_id: pipeline.to_owned(),
            run_id: RunId::of(connector, pipeline, run),
            run_external_id: run.to_owned(),
            task_id: task.to_owned(),
            map_index: -1,
            name: task.to_owned(),
            operator: None,
            status,
            provider_status: Some(status.to_string()),
            try_number: 1,
            max_tries: 0,
            queued_at: None,
            started_at: None,
            ended_at: None,
            duration_seconds: None,
            pool: None,
            queue: None,
            hostname: None,
        }
    }

    pub fn pipeline(&self, name: &str) -> PipelineObserved {
        let connector = self.world.connector;
        let (version, at) = self.observe();
        PipelineObserved {
            id: PipelineId::of(connector, name),
            space: self.space_of(connector),
            connector_id: connector,
            provider: "airflow".to_owned(),
            external_id: name.to_owned(),
            version,
            observed_at: at,
            deleted: false,
            provider_status: None,
            name: name.to_owned(),
            description: Some("two\nlines".to_owned()),
            owner: None,
            owners: Vec::new(),
            tags: Vec::new(),
            schedule: None,
            is_paused: false,
            is_active: true,
            external_url: None,
            next_run_at: None,
            provider_metadata: serde_json::json!({}),
            tasks: Vec::new(),
            first_seen_at: at,
        }
    }

    fn space_of(&self, connector: ConnectorId) -> String {
        if connector == self.world.connector { SPACE.to_owned() } else { OTHER_SPACE.to_owned() }
    }

    /// The next version, and a time that PostgreSQL keeps as it is.
    fn observe(&self) -> (i64, DateTime<Utc>) {
        let version = self.versions.fetch_add(1, Ordering::SeqCst) + 1;
        (version, DateTime::from_timestamp(1_770_000_000 + version, 0).unwrap())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
