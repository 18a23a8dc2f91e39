//! A database, topics and a connector of their own, and the worker's binary on them.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use local::Airflow;
use serde_json::{Value, json};
use shared::connector::{Credentials, credentials_place};
use shared::events::SyncReport;
use shared::ids::ConnectorId;
use shared::secrets::{Keyring, SealingConfig};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

pub const HISTORY_DAYS: u16 = 30;
const SEALING_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
/// Often enough to see a peak of memory.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Stage {
    db: PgPool,
    url: String,
    kafka: String,
    prefix: String,
    connector: ConnectorId,
}

/// What one sync cost.
pub struct Synced {
    /// As its row tells.
    pub took: Duration,
    pub report: SyncReport,
    /// The most memory that the worker's process had resident, in bytes.
    pub memory: u64,
    /// Rows of the read model that were inserted or updated.
    pub rewritten: i64,
    /// Bytes of PostgreSQL's write-ahead log, those of the sync's own row included.
    pub wal: i64,
}

/// A connector's settings, which hold neither the crawl nor the sync back.
pub fn config(airflow: &Airflow) -> Value {
    json!({"base_url": airflow.url, "history_days": HISTORY_DAYS, "max_requests_per_second": 1000})
}

impl Stage {
    /// On a PostgreSQL that nobody else writes to, so that its log tells of this alone.
    pub async fn new(airflow: &Airflow) -> anyhow::Result<Self> {
        let admin = local::postgres_instance("postgres-bench").await?;
        let name = Uuid::new_v4().simple().to_string();
        let url = local::ensure_database(&admin, &format!("bench_{name}")).await?;
        let db = PgPool::connect(&url).await?;
        shared::db::migrate(&db).await?;
        let connector = make_connector(&db, airflow).await?;
        Ok(Self { db, url, kafka: local::kafka().await?, prefix: format!("bench-{name}."), connector })
    }

    /// Runs one sync to its end in a process of its own.
    pub async fn sync(&self) -> anyhow::Result<Synced> {
        let (rows, wal) = self.written().await?;
        let mut worker = Command::new(env!("CARGO_BIN_EXE_orchestration-worker"))
            .args(["sync", &self.connector.to_string()])
            .env("DATABASE_URL", &self.url)
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.kafka)
            .env("ORCHESTRATION_KAFKA_PREFIX", &self.prefix)
            .env("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true")
            .env("ORCHESTRATION_SEALING_KEYS", SEALING_KEY)
            .stdout(Stdio::null())
            .spawn()?;
        let mut memory = 0;
        let status = loop {
            memory = memory.max(peak_memory(worker.id()).unwrap_or(0));
            if let Some(status) = worker.try_wait()? {
                break status;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        ensure!(status.success(), "the sync failed: see above");
        let (rows_after, wal_after) = self.written().await?;
        let (seconds, report): (f64, Json<SyncReport>) = sqlx::query_as(
            "select extract(epoch from finished_at - started_at)::float8, report from syncs
             order by requested_at desc limit 1",
        )
        .fetch_one(&self.db)
        .await?;
        let took = Duration::from_secs_f64(seconds);
        Ok(Synced { took, report: report.0, memory, rewritten: rows_after - rows, wal: wal_after - wal })
    }

    async fn written(&self) -> anyhow::Result<(i64, i64)> {
        // What a process has counted is told when it has ended.
        let written = sqlx::query_as(
            "select (select sum(n_tup_ins + n_tup_upd)::int8 from pg_stat_user_tables
                     where relname in ('pipelines', 'runs', 'task_runs')),
                 (pg_current_wal_insert_lsn() - '0/0')::int8",
        );
        Ok(written.fetch_one(&self.db).await?)
    }
}

async fn make_connector(db: &PgPool, airflow: &Airflow) -> anyhow::Result<ConnectorId> {
    let credentials =
        Credentials::Basic { username: airflow.username.clone(), password: airflow.password.clone().into() };
    let keyring = Keyring::new(&SealingConfig { sealing_keys: SEALING_KEY.to_owned().into() })?;
    let connector = ConnectorId(Uuid::now_v7());
    let sealed = keyring.seal(&credentials_place(connector), &serde_json::to_vec(&credentials)?)?;
    sqlx::query(
        "with space as (insert into spaces (id, slug, name) values (gen_random_uuid(), 'bench', 'Bench') returning id),
              made as (insert into connectors (id, space_id, name, connector_type, config, credentials_public,
                           credentials_sealed)
                       select $1, id, 'airflow', 'airflow', $2, $3, $4 from space returning id)
         insert into connector_state (connector_id) select id from made",
    )
    .bind(connector)
    .bind(config(airflow))
    .bind(credentials.public())
    .bind(sealed)
    .execute(db)
    .await?;
    Ok(connector)
}

/// The most bytes that a process had resident so far.
fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = peak.context("no VmHWM")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}
