//! The data: pipelines with a longer and longer history of runs, inserted by SQL into a database that is
//! dropped at the end.

use orchestration_bench::{PIPELINES, PIPELINES_PER_SPACE, execute, installation, without_indexes};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;

const DATABASE: &str = "orchestration_bench_size";
pub(crate) const TASKS_OF_A_RUN: i64 = 5;
/// Time between two runs of the installation, so that eight million runs are two years.
const SECONDS_BETWEEN_RUNS: f64 = 7.884;
/// Runs that one statement inserts.
const CHUNK: i64 = 250_000;

pub(crate) struct LongHistory {
    admin: String,
    pub url: String,
    pub db: PgPool,
    /// The measured space.
    pub space: Uuid,
    /// The number of runs so far.
    count: i64,
}

impl LongHistory {
    /// Creates the database on a server that no other program uses.
    pub(crate) async fn begin() -> anyhow::Result<Self> {
        let admin = local::postgres_instance("postgres-bench").await?;
        drop_database(&admin).await?;
        let url = local::ensure_database(&admin, DATABASE).await?;
        let db = PgPool::connect(&url).await?;
        platform::db::migrate(&db).await?;
        let space = sqlx::query_scalar("select md5('space0')::uuid").fetch_one(&db).await?;
        let history = Self { admin, url, db, space, count: 0 };
        history.run(&installation("qk_bench")).await?;
        Ok(history)
    }

    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        self.db.close().await;
        drop_database(&self.admin).await
    }

    /// Inserts older runs up to this number. Run `n` has the id `md5('run' || n)`, and run 0 is the newest.
    pub(crate) async fn grow_to(&mut self, runs: i64) -> anyhow::Result<()> {
        let mut db = PgConnection::connect(&self.url).await?;
        execute(&mut db, "set synchronous_commit = off; set maintenance_work_mem = '512MB'").await?;
        let from = self.count;
        without_indexes(&mut db, async |db| {
            for from in (from..runs).step_by(usize::try_from(CHUNK)?) {
                let to = (from + CHUNK).min(runs) - 1;
                execute(db, &runs_between(from, to)).await?;
                local::print(&format!("{} of {runs} runs are inserted", to + 1));
            }
            Ok(())
        })
        .await?;
        self.count = runs;
        execute(&mut db, "vacuum (analyze)").await?;
        while platform::pipeline_metrics::refresh(&self.db).await? {}
        execute(&mut db, "vacuum (analyze) pipeline_metrics").await?;
        execute(&mut db, "checkpoint").await
    }

    pub(crate) async fn run(&self, statements: &[String]) -> anyhow::Result<()> {
        let mut db = PgConnection::connect(&self.url).await?;
        for statement in statements {
            execute(&mut db, statement).await?;
        }
        Ok(())
    }
}

async fn drop_database(admin: &str) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(admin).await?;
    execute(&mut db, &format!("drop database if exists {DATABASE} with (force)")).await
}

/// Inserts runs and their task runs, of all pipelines in turn. The version of a row is its number.
fn runs_between(from: i64, to: i64) -> String {
    format!(
        "with inserted as (
             insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, status, provider_status, run_type, logical_date,
                 data_interval_start, data_interval_end, run_after, queued_at, started_at, ended_at,
                 duration_seconds, conf)
             select md5('run' || n)::uuid, md5('space' || p / {PIPELINES_PER_SPACE})::uuid,
                 md5('connector' || p / {PIPELINES_PER_SPACE})::uuid, md5('pipeline' || p)::uuid, 'airflow',
                 'scheduled__' || to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00'), n,
                 sha256(n::text::bytea), n, at, state, state, 'scheduled', at,
                 at - interval '1 hour', at, at, at, at, at + seconds * interval '1 s', seconds, '{{}}'
             from generate_series({from}::bigint, {to}) n,
                 lateral (select n % {PIPELINES} as p,
                     now() - n * {SECONDS_BETWEEN_RUNS} * interval '1 s' as at,
                     case when n % 17 = 0 then 'failed' else 'success' end as state,
                     20 + n % 600 as seconds) x
             returning *)
         insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
             version, fingerprint, log_offset, observed_at, task_id, map_index, name, operator, status,
             provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds, pool,
             queue, hostname)
         select md5('task' || t || '/' || r.version)::uuid, r.space_id, r.connector_id, r.pipeline_id, r.id,
             'airflow', 'pipeline/' || r.external_id || '/task_' || t, r.version, r.fingerprint, r.version,
             r.observed_at, 'task_' || t, -1, 'task_' || t, 'PythonOperator', r.status, r.status, 1, 2,
             r.queued_at, r.started_at, r.ended_at, r.duration_seconds / 5, 'default_pool', 'default',
             'worker-1'
         from inserted r cross join generate_series(1, {TASKS_OF_A_RUN}) t"
    )
}
