//! The data: pipelines whose runs go ever further back, made by SQL in a database that is dropped in the end.

use api::auth::keys;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use uuid::Uuid;

const DATABASE: &str = "orchestration_bench_size";
const SPACES: i64 = 20;
const PIPELINES: i64 = 10_000;
pub(crate) const TASKS_OF_A_RUN: i64 = 5;
/// Between two runs of the installation: eight million of them are two years.
const SECONDS_BETWEEN_RUNS: f64 = 7.884;
/// Runs that one statement makes.
const CHUNK: i64 = 250_000;

pub(crate) struct History {
    admin: String,
    pub url: String,
    pub db: PgPool,
    /// The one that is read.
    pub space: Uuid,
    /// How many runs were made so far.
    made: i64,
}

impl History {
    /// On a server that nobody else uses.
    pub(crate) async fn begin() -> anyhow::Result<Self> {
        let admin = local::postgres_instance("postgres-bench").await?;
        drop_database(&admin).await?;
        let url = local::ensure_database(&admin, DATABASE).await?;
        let db = PgPool::connect(&url).await?;
        platform::db::migrate(&db).await?;
        let space = sqlx::query_scalar("select md5('space0')::uuid").fetch_one(&db).await?;
        let history = Self { admin, url, db, space, made: 0 };
        history.run(&governance()).await?;
        Ok(history)
    }

    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        self.db.close().await;
        drop_database(&self.admin).await
    }

    /// Makes older runs, until there are so many. Run `n` has the id `md5('run' || n)`, and 0 is the newest.
    pub(crate) async fn grow_to(&mut self, runs: i64) -> anyhow::Result<()> {
        let mut db = PgConnection::connect(&self.url).await?;
        execute(&mut db, "set synchronous_commit = off; set maintenance_work_mem = '512MB'").await?;
        let indexes: Vec<(String, String)> = sqlx::query_as(INDEXES).fetch_all(&mut db).await?;
        for (drop, _) in &indexes {
            execute(&mut db, drop).await?;
        }
        execute(&mut db, "alter table runs disable trigger user").await?;
        for from in (self.made..runs).step_by(usize::try_from(CHUNK)?) {
            let to = (from + CHUNK).min(runs) - 1;
            execute(&mut db, &runs_between(from, to)).await?;
            local::print(&format!("{} of {runs} runs are made", to + 1));
        }
        self.made = runs;
        for (_, create) in &indexes {
            execute(&mut db, create).await?;
        }
        execute(&mut db, "alter table runs enable trigger user; select count_all_runs()").await?;
        execute(&mut db, "vacuum (analyze)").await?;
        while platform::pipeline_metrics::refresh(&self.db).await? > 0 {}
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

/// How each index of the large tables is dropped and made again: rows come faster without.
const INDEXES: &str = "
    select case when c.oid is null then format('drop index %s', i.indexrelid::regclass)
            else format('alter table %s drop constraint %I', i.indrelid::regclass, c.conname) end,
        case when c.oid is null then pg_get_indexdef(i.indexrelid)
            else format('alter table %s add constraint %I %s', i.indrelid::regclass, c.conname,
            pg_get_constraintdef(c.oid)) end
    from pg_index i left join pg_constraint c on c.conindid = i.indexrelid
    where i.indrelid in ('runs'::regclass, 'task_runs'::regclass)";

async fn execute(db: &mut PgConnection, statement: &str) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(db).await?;
    Ok(())
}

async fn drop_database(admin: &str) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(admin).await?;
    execute(&mut db, &format!("drop database if exists {DATABASE} with (force)")).await
}

fn governance() -> Vec<String> {
    let digest: String = keys::digest("qk_bench").iter().map(|byte| format!("{byte:02x}")).collect();
    let of_space = PIPELINES / SPACES;
    vec![
        format!(
            "insert into spaces (id, slug, name) select md5('space' || n)::uuid, 'space-' || n,
                    'Space ' || n from generate_series(0, {SPACES} - 1) n"
        ),
        "insert into users (id, email, name) values (md5('user')::uuid, 'reader@example.org', 'Reader')"
            .to_owned(),
        format!(
            "insert into api_keys (id, user_id, label, prefix, secret_sha256) values (md5('key')::uuid,
                    md5('user')::uuid, '', '', decode('{digest}', 'hex'))"
        ),
        format!(
            "insert into connectors (id, space_id, name, connector_type, config,
                    credentials_public) select md5('connector' || n)::uuid, md5('space' || n)::uuid,
                    'airflow', 'airflow', '{{}}', '{{}}' from generate_series(0, {SPACES} - 1) n"
        ),
        "insert into connector_state (connector_id, confirmed_at) select id, now() from connectors"
            .to_owned(),
        format!(
            "insert into pipelines (id, space_id, connector_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, first_seen_at,
             name, description, owner, owners, tags, schedule, is_paused, is_active, provider_metadata, tasks)
         select md5('pipeline' || n)::uuid, md5('space' || n / {of_space})::uuid,
         md5('connector' || n / {of_space})::uuid, 'airflow', 'pipeline_' || n, n, '', n, now(), now(),
             'pipeline_' || n, 'Loads what was sold', 'owner-' || n % 10, array['owner-' || n % 10],
             array['tag-' || n % 7], '@hourly', false, true, '{{}}', '[]'
         from generate_series(0, {PIPELINES} - 1) n"
        ),
    ]
}

/// Runs and their task runs, of all pipelines by turns. `version` is the number.
fn runs_between(from: i64, to: i64) -> String {
    let of_space = PIPELINES / SPACES;
    format!(
        "with made as (
             insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, provider_status,
                 run_type, logical_date, data_interval_start, data_interval_end, run_after, queued_at,
                 started_at, ended_at, duration_seconds, conf)
             select md5('run' || n)::uuid, md5('space' || p / {of_space})::uuid,
             md5('connector' || p / {of_space})::uuid, md5('pipeline' || p)::uuid, 'airflow',
                 'scheduled__' || at, n, sha256(n::text::bytea), n, at, state, state, 'scheduled', at,
                 at - interval '1 hour', at, at, at, at, at + seconds * interval '1 s', seconds, '{{}}'
             from generate_series({from}::bigint, {to}) n,
                 lateral (select n % {PIPELINES} as p, now() - n * {SECONDS_BETWEEN_RUNS} * interval '1 s' as
                 at,
                     case when n % 17 = 0 then 'failed' else 'success' end as state,
                     20 + n % 600 as seconds) x
             returning *)
         insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id,
         version, fingerprint, log_offset, observed_at,
             task_id, map_index, name, operator, status, provider_status, try_number, max_tries, queued_at,
             started_at, ended_at, duration_seconds, pool, queue, hostname)
         select md5('task' || t || '/' || r.version)::uuid, r.space_id, r.connector_id, r.pipeline_id, r.id,
         'airflow', 'pipeline/' || r.external_id || '/task_' || t, r.version,
             r.fingerprint, r.version, r.observed_at, 'task_' || t, -1, 'task_' || t, 'PythonOperator',
             r.status, r.status, 1, 2, r.queued_at, r.started_at, r.ended_at,
             r.duration_seconds / 5, 'default_pool', 'default', 'worker-1'
         from made r cross join generate_series(1, {TASKS_OF_A_RUN}) t"
    )
}
