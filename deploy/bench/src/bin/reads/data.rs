//! The data: spaces with pipelines, their runs of 30 days and task runs, inserted by SQL into a database that
//! is kept for the next benchmark.

use orchestration_bench::{PIPELINES, PIPELINES_PER_SPACE, SPACES, installation};
use platform::pipeline_metrics;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

const RUNS: i64 = 1_000_000;
const TASKS_OF_A_RUN: i64 = 5;
/// The API key of a viewer of the measured space.
const KEY: &str = "qk_bench_reads";

/// The size of the data, and its database.
#[derive(Clone, Copy)]
pub(crate) struct DataScale {
    name: &'static str,
    runs: i64,
    tasks_of_a_run: i64,
}

impl DataScale {
    pub(crate) const ONE: Self =
        Self { name: "orchestration_bench", runs: RUNS, tasks_of_a_run: TASKS_OF_A_RUN };
    /// Three times the runs, without task runs, for pages that contain none.
    pub(crate) const THREE: Self = Self { name: "orchestration_bench_3", runs: 3 * RUNS, tasks_of_a_run: 0 };
}

/// The data and its database.
pub(crate) struct BenchData {
    pub url: String,
    pub space: Uuid,
    pub key: String,
    /// The runs of the measured space, ordered by number.
    pub runs: Vec<Uuid>,
}

/// The slug of the measured space.
pub(crate) const SLUG: &str = "space-0";

/// The path of the measured space.
pub(crate) fn orchestration() -> String {
    format!("{}/spaces/{SLUG}/orchestration", api::http::BASE_PATH)
}

impl BenchData {
    /// Inserts the data unless the database contains it.
    pub(crate) async fn open(scale: DataScale) -> anyhow::Result<Self> {
        let url = local::ensure_database(&local::postgres().await?, scale.name).await?;
        let db = PgPool::connect(&url).await?;
        platform::db::migrate(&db).await?;
        let inserted: i64 = sqlx::query_scalar("select count(*) from runs").fetch_one(&db).await?;
        if inserted != scale.runs {
            local::print(&format!("inserting {} runs into the database {}", scale.runs, scale.name));
            insert(&db, scale).await?;
        }
        refresh(&db).await?;
        let space = sqlx::query_scalar("select id from spaces where slug = 'space-0'").fetch_one(&db).await?;
        let runs = sqlx::query_scalar("select md5('run' || n)::uuid from generate_series(0, $1 - 1) n")
            .bind(scale.runs / SPACES)
            .fetch_all(&db)
            .await?;
        Ok(Self { url, space, key: KEY.to_owned(), runs })
    }
}

async fn insert(db: &PgPool, scale: DataScale) -> anyhow::Result<()> {
    let truncate = "truncate spaces, users, pipelines, runs, task_runs, pipeline_metrics, run_changes,
        run_counts, run_days, run_windows cascade"
        .to_owned();
    let governance = "insert into pipeline_governance (pipeline_id, space_id, criticality)
        select id, space_id, 'high' from pipelines where version % 4 = 0";
    let rows = [governance.to_owned(), runs(scale), task_runs(scale), "vacuum analyze".to_owned()];
    for statement in std::iter::once(truncate).chain(installation(KEY)).chain(rows) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(db).await?;
    }
    Ok(())
}

fn runs(scale: DataScale) -> String {
    let per_pipeline = scale.runs / PIPELINES;
    format!(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, provider_status, run_type, logical_date, run_after,
             queued_at, started_at, ended_at, duration_seconds, conf)
         select md5('run' || n)::uuid, md5('space' || n / {per_pipeline} / {PIPELINES_PER_SPACE})::uuid,
             md5('connector' || n / {per_pipeline} / {PIPELINES_PER_SPACE})::uuid,
             md5('pipeline' || n / {per_pipeline})::uuid, 'airflow', 'scheduled__' || n, n, '', n, at,
             state, state, 'scheduled', at, at, at, at, at + seconds * interval '1 s', seconds, '{{}}'
         from generate_series(0, {} - 1) n,
             lateral (select now() - interval '29 days' * (n % {per_pipeline}) / {per_pipeline}
                     - n % 997 * interval '1 s' as at,
                 case when n % 17 = 0 then 'failed' else 'success' end as state, 20 + n % 600 as seconds) x",
        scale.runs
    )
}

fn task_runs(scale: DataScale) -> String {
    format!(
        "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
             version, fingerprint, log_offset, observed_at, task_id, map_index, name, operator, status,
             provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds, pool,
             queue, hostname)
         select md5('task' || t || '/' || n)::uuid, r.space_id, r.connector_id, r.pipeline_id, r.id,
             'airflow', r.external_id || '/task_' || t, n, '', n, r.observed_at, 'task_' || t, -1,
             'task_' || t, 'PythonOperator', r.status, r.status, 1, 2, r.queued_at, r.started_at, r.ended_at,
             r.duration_seconds / 5, 'default_pool', 'default', 'worker-1'
         from generate_series(0, {} - 1) n join runs r on r.id = md5('run' || n)::uuid
             cross join generate_series(1, {}) t",
        scale.runs, scale.tasks_of_a_run
    )
}

/// Refreshes the metrics as a running worker does, and vacuums.
async fn refresh(db: &PgPool) -> anyhow::Result<()> {
    while pipeline_metrics::refresh(db).await? {}
    for statement in ["vacuum analyze pipeline_metrics", "checkpoint"] {
        sqlx::raw_sql(statement).execute(db).await?;
    }
    Ok(())
}
