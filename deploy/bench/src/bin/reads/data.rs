//! The data that is read: spaces with pipelines, their runs over 30 days, and task runs, made by SQL in a
//! database that is kept for the next time.

use api::auth::keys;
use platform::pipeline_metrics;
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

const SPACES: i64 = 20;
const PIPELINES: i64 = 10_000;
const RUNS: i64 = 1_000_000;
const TASKS_OF_A_RUN: i64 = 5;
/// The key of a viewer of the space that is read.
const KEY: &str = "qk_bench_reads";

/// How much.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    name: &'static str,
    runs: i64,
    tasks_of_a_run: i64,
}

impl Scale {
    pub(crate) const ONE: Self =
        Self { name: "orchestration_bench", runs: RUNS, tasks_of_a_run: TASKS_OF_A_RUN };
    /// Three times the runs, for pages that show none of their tasks.
    pub(crate) const THREE: Self = Self { name: "orchestration_bench_3", runs: 3 * RUNS, tasks_of_a_run: 0 };
}

/// The data, and where it is.
pub(crate) struct Data {
    pub url: String,
    pub space: Uuid,
    pub key: String,
    /// Of the space that is read, in the order of their numbers.
    pub runs: Vec<Uuid>,
}

/// The path of the space that is read.
pub(crate) fn orchestration() -> String {
    format!("{}/spaces/space-0/orchestration", api::http::BASE_PATH)
}

impl Data {
    /// Makes the data unless it is there.
    pub(crate) async fn ready(scale: Scale) -> anyhow::Result<Self> {
        let url = local::ensure_database(&local::postgres().await?, scale.name).await?;
        let db = PgPool::connect(&url).await?;
        platform::db::migrate(&db).await?;
        let made: i64 = sqlx::query_scalar("select count(*) from runs").fetch_one(&db).await?;
        if made != scale.runs {
            local::print(&format!("making {} runs in the database {}", scale.runs, scale.name));
            make(&db, scale).await?;
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

/// Entity `n` has the id `md5(kind || n)`, which SQL and pgbench can say too.
async fn make(db: &PgPool, scale: Scale) -> anyhow::Result<()> {
    let digest: String = keys::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let of_space = PIPELINES / SPACES;
    let of_pipeline = scale.runs / PIPELINES;
    let statements = [
        "truncate spaces, users, pipelines, runs, task_runs, pipeline_metrics cascade".to_owned(),
        format!("insert into spaces (id, slug, name) select md5('space' || n)::uuid, 'space-' || n,
                    'Space ' || n from generate_series(0, {SPACES} - 1) n"),
        "insert into users (id, email, name) values (md5('user')::uuid, 'reader@example.org', 'Reader')".to_owned(),
        format!("insert into api_keys (id, user_id, label, prefix, secret_sha256) values (md5('key')::uuid,
                    md5('user')::uuid, '', '', decode('{digest}', 'hex'))"),
        "insert into memberships (space_id, user_id, role) select id, md5('user')::uuid, 'viewer' from spaces".to_owned(),
        format!("insert into connectors (id, space_id, name, connector_type, config,
                    credentials_public) select md5('connector' || n)::uuid, md5('space' || n)::uuid,
                    'airflow', 'airflow', '{{}}', '{{}}' from generate_series(0, {SPACES} - 1) n"),
        "insert into connector_state (connector_id, confirmed_at) select id, now() from connectors".to_owned(),
        format!("insert into pipelines (id, space_id, connector_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, first_seen_at,
             name, description, owner, owners, tags, schedule, is_paused, is_active, provider_metadata, tasks)
         select md5('pipeline' || n)::uuid, md5('space' || n / {of_space})::uuid,
         md5('connector' || n / {of_space})::uuid, 'airflow', 'pipeline_' || n, n, '', n, now(), now(),
             'pipeline_' || n, 'Loads what was sold', 'owner-' || n % 10, array['owner-' || n % 10],
             array['tag-' || n % 7], '@hourly', n % 9 = 0, true,
             '{{\"timetable\": \"hourly\"}}', '[]'
         from generate_series(0, {PIPELINES} - 1) n"),
        "insert into pipeline_governance (pipeline_id, space_id, criticality) select id, space_id,
            'high' from pipelines where version % 4 = 0".to_owned(),
        format!("insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, provider_status,
             run_type, logical_date, run_after, queued_at, started_at, ended_at, duration_seconds, conf)
         select md5('run' || n)::uuid, md5('space' || n / {of_pipeline} / {of_space})::uuid,
         md5('connector' || n / {of_pipeline} / {of_space})::uuid,
             md5('pipeline' || n / {of_pipeline})::uuid, 'airflow', 'scheduled__' || n, n, '', n, at, state,
             state, 'scheduled', at, at, at, at, at + seconds * interval '1 s', seconds, '{{}}'
         from generate_series(0, {runs} - 1) n,
             lateral (select now() - interval '29 days' * (n % {of_pipeline}) / {of_pipeline} - n % 997 *
             interval '1 s' as at,
                 case when n % 17 = 0 then 'failed' else 'success' end as state, 20 + n % 600 as seconds) x", runs = scale.runs),
        format!("insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider,
             external_id, version, fingerprint, log_offset, observed_at,
             task_id, map_index, name, operator, status, provider_status, try_number, max_tries, queued_at,
             started_at, ended_at, duration_seconds, pool, queue, hostname)
         select md5('task' || t || '/' || n)::uuid, r.space_id, r.connector_id, r.pipeline_id, r.id,
         'airflow', r.external_id || '/task_' || t, n, '', n, r.observed_at,
             'task_' || t, -1, 'task_' || t, 'PythonOperator', r.status, r.status, 1, 2, r.queued_at,
             r.started_at, r.ended_at, r.duration_seconds / 5, 'default_pool', 'default', 'worker-1'
         from generate_series(0, {runs} - 1) n join runs r on r.id = md5('run' || n)::uuid cross join
         generate_series(1, {tasks}) t", runs = scale.runs, tasks = scale.tasks_of_a_run),
        "vacuum analyze".to_owned(),
    ];
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(db).await?;
    }
    Ok(())
}

/// As a running worker would have left it.
async fn refresh(db: &PgPool) -> anyhow::Result<()> {
    while pipeline_metrics::refresh(db).await? > 0 {}
    for statement in ["vacuum analyze pipeline_metrics", "checkpoint"] {
        sqlx::raw_sql(statement).execute(db).await?;
    }
    Ok(())
}
