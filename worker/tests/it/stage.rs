//! A stage for one test: a database, topics, a connector, and a worker's parts on them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::SubsecRound;
use clap::Parser;
use contract::events::{
    Event, Observation, PipelineObserved, Record, RunObserved, Source, TaskRunObserved, Topic,
};
use contract::ids::ConnectorId;
use contract::state::{RunState, TaskState};
use platform::kafka::{KafkaConfig, Producer};
use provider::connector::Credentials;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::{Message, TopicPartitionList};
use secrecy::ExposeSecret;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::config::{Cli, Command, RunArgs};
use worker::process::Parts;
use worker::sync::jobs::Job;
use worker::sync::{SyncError, Synced, jobs, sync_connector};

use crate::made_events;
use crate::test_topics::test_prefix;
use crate::world::World;

pub const SEALING_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Stage {
    /// The worker's, with the worker's role.
    pub args: RunArgs,
    /// The owner's, who sets up and looks on.
    pub pool: PgPool,
    owner_url: String,
    pub connector: ConnectorId,
    pub parts: Parts,
}

impl Stage {
    /// A stage with nobody on it: topics exist, nothing is consumed.
    pub async fn empty() -> Self {
        let database = local::test_database().await.unwrap();
        let kafka = local::kafka().await.unwrap();
        Self::on(database.url, &database.worker_url, database.pool, &kafka).await
    }

    /// A stage on a PostgreSQL of its own, to be killed or measured, and on the Kafka given.
    pub async fn apart(postgres: &str, kafka: &str) -> Self {
        let admin = local::postgres_instance(postgres).await.unwrap();
        let database = format!("test_{}", Uuid::new_v4().simple());
        let url = local::ensure_database(&admin, &database).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        platform::db::migrate(&pool).await.unwrap();
        Self::on(url.clone(), &url, pool, kafka).await
    }

    async fn on(owner_url: String, worker_url: &str, pool: PgPool, kafka: &str) -> Self {
        let prefix = test_prefix(kafka).await;
        let args = run_args(worker_url, kafka, &prefix);
        let connector = make_connector(&pool).await;
        let parts = Parts::open(&args.settings, CancellationToken::new()).unwrap();
        parts.await_topics().await.unwrap();
        Self { args, pool, owner_url, connector, parts }
    }

    /// Points the connector at a real Airflow.
    pub async fn connect(&self, airflow: &local::AirflowServer) {
        let credentials = Credentials::Basic {
            username: airflow.username.clone(),
            password: airflow.password.clone().into(),
        };
        let place = provider::connector::credentials_aad(self.connector);
        let sealed =
            self.parts.runner.keyring.seal(&place, &serde_json::to_vec(&credentials).unwrap()).unwrap();
        sqlx::query("update connectors set credentials_sealed = $2 where id = $1")
            .bind(self.connector)
            .bind(sealed)
            .execute(&self.pool)
            .await
            .unwrap();
        self.point_to(&airflow.url).await;
    }

    /// Gives the connector another address.
    pub async fn point_to(&self, url: &str) {
        sqlx::query(
            "update connectors set config = config || jsonb_build_object('base_url', $2) where id = $1",
        )
        .bind(self.connector)
        .bind(url)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Asks for a sync and runs it, as the worker would.
    pub async fn run_sync(&self, full: bool) -> Result<Synced, SyncError> {
        self.ask(full, false).await;
        let progress = watch::Sender::default();
        self.parts.runner.run_next(Some(self.connector), &progress).await.unwrap().unwrap()
    }

    /// A stage where events are projected and the outbox is relayed.
    pub async fn new() -> Self {
        let stage = Self::empty().await;
        stage.parts.start_projecting();
        stage.parts.start_relay();
        stage
    }

    /// Another worker's parts on the same stage, projecting.
    pub fn parts_again(&self) -> Parts {
        let parts = Parts::open(&self.args.settings, CancellationToken::new()).unwrap();
        parts.start_projecting();
        parts
    }

    pub fn producer(&self) -> &Producer {
        &self.parts.runner.producer
    }

    pub fn kafka(&self) -> &KafkaConfig {
        &self.args.settings.kafka
    }

    pub async fn send<E: Event>(&self, events: &[E]) {
        let records: Vec<Record> = events.iter().map(|event| Record::of(event).unwrap()).collect();
        self.producer().send(&records).await.unwrap();
    }

    /// Asks for a sync and leases it, as a runner would.
    pub async fn lease(&self, full: bool) -> Job {
        self.ask(full, false).await;
        self.take().await
    }

    /// Leases what waits, as a runner would.
    pub async fn take(&self) -> Job {
        let runner = &self.parts.runner;
        let lease = jobs::lease(&runner.pool, "test", Some(self.connector)).await.unwrap().unwrap();
        let mut db = runner.pool.acquire().await.unwrap();
        jobs::take(&mut db, lease, &runner.keyring).await.unwrap().unwrap().job.unwrap()
    }

    pub async fn ask(&self, full: bool, accept_mass_deletion: bool) -> Uuid {
        sqlx::query_scalar(
            r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
                   requested_at, accepted_at)
               select $1, space_id, id, 'queued', 'manual', $3, $4, now(), now() from connectors where id = $2
               returning id"#,
        )
        .bind(Uuid::now_v7())
        .bind(self.connector)
        .bind(full)
        .bind(accept_mass_deletion)
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Runs one sync of a world to its end, the way a runner does.
    pub async fn sync(&self, world: &World, full: bool) -> Result<Synced, SyncError> {
        let job = self.lease(full).await;
        self.sync_job(world, &job).await
    }

    pub async fn sync_job(&self, world: &World, job: &Job) -> Result<Synced, SyncError> {
        let progress = watch::Sender::default();
        let lease = jobs::Lease { connector_id: job.connector_id, epoch: job.epoch };
        let pool = &self.parts.runner.pool;
        let outcome = sync_connector(pool, self.producer(), job, world, &progress).await;
        let outcome = match outcome {
            Ok(synced) => jobs::succeed(pool, job, &synced).await.map(|()| synced),
            Err(error) => Err(error),
        };
        if let Err(error) = &outcome {
            jobs::fail(pool, lease, &job.syncs, error, &progress.borrow().report).await.unwrap();
        }
        outcome
    }

    /// Waits until a query answers true.
    pub async fn until(&self, what: &'static str) {
        self.until_within(PATIENCE, what).await;
    }

    pub async fn until_within(&self, patience: Duration, what: &'static str) {
        let wait = async {
            // A server may be away just now: that is part of some tests.
            while !sqlx::query_scalar::<_, bool>(what).fetch_one(&self.pool).await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| panic!("never true: {what}"));
    }

    /// A number from the database.
    pub async fn number(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(&self.pool).await.unwrap()
    }

    /// Every row of the read model, as text, in order: what must be the same after a replay.
    pub async fn read_model(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select row::text from (
                 select 1 as kind, id, to_jsonb(p) - 'log_offset' as row from pipelines p
                 union all select 2, id, to_jsonb(r) - 'log_offset' from runs r
                 union all select 3, id, to_jsonb(t) - 'log_offset' from task_runs t) rows
             order by kind, id",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    /// The worker's way into the database.
    pub fn database_url(&self) -> &str {
        self.args.settings.database.database_url.expose_secret()
    }

    /// The owner's.
    pub fn owner_url(&self) -> &str {
        &self.owner_url
    }

    /// Every event of one entity on a topic, oldest first: headers and data.
    pub fn events(&self, topic: Topic, key: &str) -> Vec<(BTreeMap<String, String>, serde_json::Value)> {
        let consumer: BaseConsumer = self.kafka().client().set("group.id", "reader").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        for partition in 0..self.kafka().kafka_partitions {
            partitions
                .add_partition_offset(&self.kafka().topic(topic), partition, rdkafka::Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&partitions).unwrap();
        let mut events = Vec::new();
        while let Some(message) = consumer.poll(Duration::from_secs(5)) {
            let message = message.unwrap();
            if message.key() != Some(key.as_bytes()) {
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let headers = message.headers().unwrap().iter();
            let headers =
                headers.map(|header| (header.key.to_owned(), text(header.value.unwrap()))).collect();
            events.push((headers, serde_json::from_slice(message.payload().unwrap()).unwrap()));
        }
        events
    }

    /// How many records the state topics hold.
    pub fn published(&self) -> i64 {
        let consumer: BaseConsumer = self.kafka().client().create().unwrap();
        let ends = Topic::STATE.iter().flat_map(|topic| {
            let name = self.kafka().topic(*topic);
            (0..self.kafka().kafka_partitions).map(move |partition| (name.clone(), partition))
        });
        ends.map(|(topic, partition)| {
            let (low, high) = consumer.fetch_watermarks(&topic, partition, PATIENCE).unwrap();
            high - low
        })
        .sum()
    }

    pub fn pipeline(&self, name: &str, version: i64) -> PipelineObserved {
        PipelineObserved {
            description: Some("as of every day".to_owned()),
            owner: Some("ada".to_owned()),
            owners: vec!["ada".to_owned(), "bob".to_owned()],
            tags: vec!["finance".to_owned()],
            schedule: Some("0 5 * * *".to_owned()),
            provider_metadata: serde_json::json!({"a": [1, 2.5, "x"], "b": null}),
            first_seen_at: chrono::DateTime::UNIX_EPOCH,
            ..made_events::pipeline(&self.source(), name, seen(version))
        }
    }

    pub fn run(&self, pipeline: &str, name: &str, version: i64, status: RunState) -> RunObserved {
        RunObserved {
            run_after: Some((chrono::Utc::now() - chrono::TimeDelta::minutes(5)).trunc_subsecs(6)),
            duration_seconds: status.is_finished().then_some(12.5),
            conf: serde_json::json!({"k": "v"}),
            ..made_events::run(&self.source(), pipeline, name, status, seen(version))
        }
    }

    pub fn task_run(
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
            ..made_events::task_run(&self.source(), (pipeline, run, task, map_index), status, now)
        }
    }

    fn source(&self) -> Source {
        Source { space: "test".to_owned(), connector_id: self.connector }
    }
}

/// An observation as old as its version.
fn seen(version: i64) -> Observation {
    Observation { version, at: chrono::DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(version) }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.parts.runner.stop.cancel();
    }
}

pub fn run_args(database: &str, kafka: &str, prefix: &str) -> RunArgs {
    let cli = Cli::try_parse_from([
        "orchestration-worker",
        "run",
        "--database-url",
        database,
        "--kafka-bootstrap-servers",
        kafka,
        "--kafka-prefix",
        prefix,
        "--kafka-partitions",
        "2",
        "--sealing-keys",
        SEALING_KEY,
        "--allow-private-networks",
    ]);
    let Command::Run(args) = cli.unwrap().command else { unreachable!("asked for `run`") };
    args
}

async fn make_connector(pool: &PgPool) -> ConnectorId {
    let config = serde_json::json!({"base_url": "http://127.0.0.1:1/", "schedule": "* * * * * *"});
    sqlx::query_scalar(
        "with space as (insert into spaces (id, slug, name) values (gen_random_uuid(), 'test', 'Test') returning id),
              made as (insert into connectors (id, space_id, name, connector_type, config, credentials_public)
                       select gen_random_uuid(), id, 'airflow', 'airflow', $1, $2 from space returning id)
         insert into connector_state (connector_id) select id from made returning connector_id",
    )
    .bind(config)
    .bind(Credentials::None.public())
    .fetch_one(pool)
    .await
    .unwrap()
}
