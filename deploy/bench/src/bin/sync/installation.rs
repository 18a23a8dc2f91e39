//! An installation to be measured: a database, topics and a connector of its own, and the worker's program.

use std::time::Duration;

use anyhow::ensure;
use contract::events::SyncReport;
use contract::ids::ConnectorId;
use local::AirflowServer;
use provider::connector::Credentials;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::types::Json;
use testkit::{ProgramSettings, WorkerProcess, keyring, sealing_keys};
use uuid::Uuid;

pub(crate) const HISTORY_DAYS: u16 = 30;
const POLL_TIMEOUT: Duration = Duration::from_secs(120);
/// Short enough to see a peak of memory.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

pub(crate) struct BenchInstallation {
    db: PgPool,
    settings: ProgramSettings,
    connector: ConnectorId,
}

/// What PostgreSQL has written so far.
#[derive(sqlx::FromRow)]
struct WriteCounters {
    rows: i64,
    /// Bytes of the write-ahead log.
    wal: i64,
}

/// What one sync cost.
pub(crate) struct SyncCost {
    /// From start to finish, by the sync's row.
    pub duration: Duration,
    pub report: SyncReport,
    /// The peak of the worker's resident memory, in bytes.
    pub memory: u64,
    /// Rows of the read model that were inserted or updated.
    pub rewritten: i64,
    /// Bytes of PostgreSQL's write-ahead log, including everything else that the worker does meanwhile.
    pub wal: i64,
}

/// The connector's configuration, which limits neither the crawl nor the sync.
pub(crate) fn config(airflow: &AirflowServer) -> Value {
    json!({
        "base_url": airflow.url, "history_days": HISTORY_DAYS, "max_requests_per_second": 1000,
        "schedule": "*/2 * * * * *",
    })
}

impl BenchInstallation {
    /// Uses a PostgreSQL server that no other program writes to, so that its counters are the worker's alone.
    pub(crate) async fn new(airflow: &AirflowServer) -> anyhow::Result<Self> {
        let admin = local::postgres_instance("postgres-bench").await?;
        let name = Uuid::new_v4().simple().to_string();
        let database_url = local::ensure_database(&admin, &format!("bench_{name}")).await?;
        let db = PgPool::connect(&database_url).await?;
        platform::db::migrate(&db).await?;
        let connector = create_connector(&db, airflow).await;
        let kafka = orchestration_bench::kafka(&name).await?;
        let settings = ProgramSettings { database_url, kafka, sealing_keys: sealing_keys("a") };
        Ok(Self { db, settings, connector })
    }

    /// Runs one sync to its end in a process of its own.
    pub(crate) async fn sync(&self) -> anyhow::Result<SyncCost> {
        let before = self.write_counters().await?;
        let mut worker = self.worker(&["sync", &self.connector.to_string()]).await;
        let mut memory = 0;
        let status = loop {
            memory = memory.max(peak_memory(&mut worker));
            if let Some(status) = worker.process().try_wait()? {
                break status;
            }
            tokio::time::sleep(SAMPLE_INTERVAL).await;
        };
        ensure!(status.success(), "the sync failed: see above");
        let after = self.write_counters().await?;
        let (duration, report) = self.latest(1).await?;
        Ok(SyncCost {
            duration,
            report,
            memory,
            rewritten: after.rows - before.rows,
            wal: after.wal - before.wal,
        })
    }

    /// Lets a worker poll so many times by schedule; the cost of one of these polls.
    pub(crate) async fn poll(&self, times: i64) -> anyhow::Result<SyncCost> {
        let mut worker = self.worker(&["run", "--metrics-listen", "127.0.0.1:0"]).await;
        sqlx::query("update connector_state set next_due_at = now()").execute(&self.db).await?;
        // The first poll logs in, and is not measured.
        self.wait_for_polls(1).await;
        let before = self.write_counters().await?;
        self.wait_for_polls(1 + times).await;
        let after = self.write_counters().await?;
        let (duration, report) = self.latest(times).await?;
        Ok(SyncCost {
            duration,
            report,
            memory: peak_memory(&mut worker),
            rewritten: after.rows - before.rows,
            wal: (after.wal - before.wal) / times,
        })
    }

    async fn wait_for_polls(&self, times: i64) {
        let polled = format!(
            "select count(*) >= {times} from syncs where trigger = 'schedule' and status = 'succeeded'"
        );
        testkit::eventually_true(&self.db, POLL_TIMEOUT, &polled).await;
    }

    async fn worker(&self, arguments: &[&str]) -> WorkerProcess {
        let mut worker = self.settings.worker(arguments).await;
        WorkerProcess::spawn(worker.env("ORCHESTRATION_LOG", "warn"))
    }

    /// The median duration of the latest syncs, and the report of the last one.
    async fn latest(&self, count: i64) -> anyhow::Result<(Duration, SyncReport)> {
        let (seconds, report): (f64, Json<SyncReport>) = sqlx::query_as(
            "select percentile_cont(0.5)
                     within group (order by extract(epoch from finished_at - started_at)::float8),
                 (array_agg(report order by finished_at desc))[1]
             from (select * from syncs where status = 'succeeded' order by finished_at desc limit $1) latest",
        )
        .bind(count)
        .fetch_one(&self.db)
        .await?;
        Ok((Duration::from_secs_f64(seconds), report.0))
    }

    async fn write_counters(&self) -> anyhow::Result<WriteCounters> {
        // PostgreSQL adds what a connection has written once it is closed, or idle for a second.
        let counters = sqlx::query_as(
            "select (select sum(n_tup_ins + n_tup_upd)::int8 from pg_stat_user_tables
                     where relname in ('pipelines', 'runs', 'task_runs')) as rows,
                 (pg_current_wal_insert_lsn() - '0/0')::int8 as wal",
        );
        Ok(counters.fetch_one(&self.db).await?)
    }
}

/// The peak of a process's resident memory in bytes; 0 when it has ended.
fn peak_memory(worker: &mut WorkerProcess) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.process().id()));
    let status = status.unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) << 10
}

async fn create_connector(db: &PgPool, airflow: &AirflowServer) -> ConnectorId {
    testkit::create_space(db, "bench").await;
    let connector = testkit::create_connector(db, "bench", "airflow", config(airflow)).await;
    let credentials =
        Credentials::Basic { username: airflow.username.clone(), password: airflow.password.clone().into() };
    testkit::store_credentials(db, connector, &keyring("a"), &credentials.into()).await;
    connector
}
