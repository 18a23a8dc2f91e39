//! A database, topics and a connector of their own, and the worker's binary on them.

use std::time::{Duration, Instant};

use anyhow::ensure;
use contract::events::SyncReport;
use contract::ids::ConnectorId;
use local::AirflowServer;
use platform::secrets::{Keyring, SealingConfig};
use provider::connector::{Credentials, credentials_aad};
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::types::Json;
use uuid::Uuid;

use crate::process::{SEALING_KEY, Worker};

pub const HISTORY_DAYS: u16 = 30;
/// So long may polls take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Often enough to see a peak of memory.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub struct Stage {
    db: PgPool,
    url: String,
    kafka: String,
    prefix: String,
    connector: ConnectorId,
}

/// What a database was told so far.
#[derive(sqlx::FromRow)]
struct Written {
    rows: i64,
    wal: i64,
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
    /// Bytes of PostgreSQL's write-ahead log, those of all that the worker does meanwhile included.
    pub wal: i64,
}

/// A connector's settings, which hold neither the crawl nor the sync back.
pub fn config(airflow: &AirflowServer) -> Value {
    json!({
        "base_url": airflow.url, "history_days": HISTORY_DAYS, "max_requests_per_second": 1000,
        "schedule": "*/2 * * * * *",
    })
}

impl Stage {
    /// On a PostgreSQL that nobody else writes to, so that its log tells of this alone.
    pub async fn new(airflow: &AirflowServer) -> anyhow::Result<Self> {
        let admin = local::postgres_instance("postgres-bench").await?;
        let name = Uuid::new_v4().simple().to_string();
        let url = local::ensure_database(&admin, &format!("bench_{name}")).await?;
        let db = PgPool::connect(&url).await?;
        platform::db::migrate(&db).await?;
        let connector = make_connector(&db, airflow).await?;
        Ok(Self { db, url, kafka: local::kafka().await?, prefix: format!("bench-{name}."), connector })
    }

    /// Runs one sync to its end in a process of its own.
    pub async fn sync(&self) -> anyhow::Result<Synced> {
        let before = self.written().await?;
        let mut worker = self.worker(&["sync", &self.connector.to_string()])?;
        let mut memory = 0;
        let status = loop {
            memory = memory.max(peak_memory(&worker));
            if let Some(status) = worker.0.try_wait()? {
                break status;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        ensure!(status.success(), "the sync failed: see above");
        let written = self.written().await?;
        let (took, report) = self.latest(1).await?;
        Ok(Synced {
            took,
            report,
            memory,
            rewritten: written.rows - before.rows,
            wal: written.wal - before.wal,
        })
    }

    /// Lets a worker poll by schedule, so many times, and tells what one of these polls cost.
    pub async fn poll(&self, times: i64) -> anyhow::Result<Synced> {
        let worker = self.worker(&["run", "--metrics-listen", "127.0.0.1:0"])?;
        sqlx::query("update connector_state set next_due_at = now()").execute(&self.db).await?;
        // The first one logs in.
        self.until_polled(1).await?;
        let before = self.written().await?;
        self.until_polled(1 + times).await?;
        let written = self.written().await?;
        let (took, report) = self.latest(times).await?;
        Ok(Synced {
            took,
            report,
            memory: peak_memory(&worker),
            rewritten: written.rows - before.rows,
            wal: (written.wal - before.wal) / times,
        })
    }

    async fn until_polled(&self, times: i64) -> anyhow::Result<()> {
        let polled = "select count(*) >= $1 from syncs where trigger = 'schedule' and status = 'succeeded'";
        let deadline = Instant::now() + PATIENCE;
        while !sqlx::query_scalar::<_, bool>(polled).bind(times).fetch_one(&self.db).await? {
            ensure!(Instant::now() < deadline, "the worker does not poll: see above");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn worker(&self, arguments: &[&str]) -> std::io::Result<Worker> {
        Worker::start(arguments, &self.url, &self.kafka, &self.prefix)
    }

    /// Of the latest syncs: how long the middle one took, and the report of the last.
    async fn latest(&self, count: i64) -> anyhow::Result<(Duration, SyncReport)> {
        let (seconds, report): (f64, Json<SyncReport>) = sqlx::query_as(
            "select percentile_cont(0.5) within group (order by extract(epoch from finished_at - started_at)::float8),
                 (array_agg(report order by finished_at desc))[1]
             from (select * from syncs where status = 'succeeded' order by finished_at desc limit $1) latest",
        )
        .bind(count)
        .fetch_one(&self.db)
        .await?;
        Ok((Duration::from_secs_f64(seconds), report.0))
    }

    async fn written(&self) -> anyhow::Result<Written> {
        // What a process has counted is told when it has ended, or has been idle for a second.
        let written = sqlx::query_as(
            "select (select sum(n_tup_ins + n_tup_upd)::int8 from pg_stat_user_tables
                     where relname in ('pipelines', 'runs', 'task_runs')) as rows,
                 (pg_current_wal_insert_lsn() - '0/0')::int8 as wal",
        );
        Ok(written.fetch_one(&self.db).await?)
    }
}

/// The most bytes that a worker had resident so far; none when it has ended.
fn peak_memory(worker: &Worker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.0.id())).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

async fn make_connector(db: &PgPool, airflow: &AirflowServer) -> anyhow::Result<ConnectorId> {
    let credentials =
        Credentials::Basic { username: airflow.username.clone(), password: airflow.password.clone().into() };
    let keyring = Keyring::new(&SealingConfig { sealing_keys: SEALING_KEY.to_owned().into() })?;
    let connector = ConnectorId(Uuid::now_v7());
    let sealed = keyring.seal(&credentials_aad(connector), &serde_json::to_vec(&credentials)?)?;
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
