//! The data: one space with pipelines and their newest runs, one pipeline with many tasks, and one run with
//! many mapped task runs. It is inserted by SQL into a database that is kept for the next benchmark.

use api::auth::keys;
use contract::events::Source;
use contract::ids::{ConnectorId, PipelineId, RunId, TaskRunId};
use platform::pipeline_metrics;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use uuid::Uuid;

/// The API key of an editor of the space.
const KEY: &str = "qk_bench_console";
pub(crate) const SPACE: &str = "bench";
const CONNECTOR: &str = "md5('connector')::uuid";

/// The amount of data, of this installation and of Airflow's.
pub(crate) struct ConsoleScale {
    database: &'static str,
    pub pipelines: u32,
    pub runs_of_a_pipeline: u32,
    pub grid_tasks: u32,
    pub grid_runs: u32,
    pub mapped_task_runs: u32,
}

impl ConsoleScale {
    pub(crate) const FULL: Self = Self {
        database: "orchestration_bench_console",
        pipelines: 10_000,
        runs_of_a_pipeline: 25,
        grid_tasks: 2_000,
        grid_runs: 28,
        mapped_task_runs: 5_000,
    };
    pub(crate) const SMALL: Self = Self {
        database: "orchestration_bench_console_small",
        pipelines: 200,
        runs_of_a_pipeline: 10,
        grid_tasks: 200,
        grid_runs: 28,
        mapped_task_runs: 500,
    };
}

/// The inserted data and its database.
pub(crate) struct ConsoleData {
    pub url: String,
    pub key: String,
    pub db: PgPool,
    pub source: Source,
    grid_runs: u32,
}

impl ConsoleData {
    /// Inserts the data unless the database contains it, and moves its times to now.
    pub(crate) async fn open(scale: &ConsoleScale) -> anyhow::Result<Self> {
        let url = local::ensure_database(&local::postgres().await?, scale.database).await?;
        let db = PgPool::connect(&url).await?;
        platform::db::migrate(&db).await?;
        let inserted: i64 = sqlx::query_scalar("select count(*) from task_runs").fetch_one(&db).await?;
        if inserted != i64::from(scale.grid_tasks * scale.grid_runs + scale.mapped_task_runs) {
            local::print(&format!(
                "inserting {} pipelines into the database {}",
                scale.pipelines, scale.database
            ));
            insert(&db, scale).await?;
        }
        let source = Source { space: SPACE.to_owned(), connector_id: connector(&db).await? };
        Ok(Self { url, key: KEY.to_owned(), db, source, grid_runs: scale.grid_runs })
    }

    pub(crate) fn list_page(&self) -> String {
        format!("/s/{SPACE}/pipelines")
    }

    pub(crate) fn grid_page(&self) -> String {
        // The console offers 25, 50 and 100 runs; all of the grid's runs are shown.
        let runs = if self.grid_runs > 25 { 50 } else { 25 };
        let pipeline = PipelineId::of(self.source.connector_id, &pipeline_name(0));
        format!("/s/{SPACE}/pipelines/{}?runs={runs}", pipeline.0)
    }

    pub(crate) fn run_page(&self) -> String {
        let run = RunId::of(self.source.connector_id, &pipeline_name(1), &run_name(0));
        format!("/s/{SPACE}/runs/{}", run.0)
    }

    /// The tasks that have not ended in the newest run of the grid.
    pub(crate) async fn changing_tasks(&self) -> sqlx::Result<Vec<String>> {
        let run = RunId::of(self.source.connector_id, &pipeline_name(0), &run_name(0));
        sqlx::query_scalar("select task_id from task_runs where run_id = $1 and ended_at is null order by 1")
            .bind(run.0)
            .fetch_all(&self.db)
            .await
    }
}

async fn connector(db: &PgPool) -> sqlx::Result<ConnectorId> {
    let select = format!("select {CONNECTOR}");
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(db).await.map(ConnectorId)
}

pub(crate) fn pipeline_name(number: u32) -> String {
    format!("pipeline_{number:05}")
}

/// The newest run has the number 0.
pub(crate) fn run_name(number: u32) -> String {
    format!("scheduled__{number}")
}

fn task_name(number: u32) -> String {
    format!("task_{number:04}")
}

/// Stores the ids for `bench_id`. Ids follow from names, which the consumers check.
async fn insert_ids(db: &PgPool, scale: &ConsoleScale) -> anyhow::Result<()> {
    let connector = connector(db).await?;
    let mut ids: Vec<(String, Uuid)> = Vec::new();
    for n in 0..scale.pipelines {
        let pipeline = pipeline_name(n);
        ids.push((format!("pipeline{n}"), PipelineId::of(connector, &pipeline).0));
        for k in 0..if n == 0 { scale.grid_runs } else { scale.runs_of_a_pipeline } {
            ids.push((format!("run{n}/{k}"), RunId::of(connector, &pipeline, &run_name(k)).0));
        }
    }
    for k in 0..scale.grid_runs {
        for t in 0..scale.grid_tasks {
            let id = TaskRunId::of(connector, &pipeline_name(0), &run_name(k), &task_name(t), -1);
            ids.push((format!("task{t}/{k}"), id.0));
        }
    }
    for m in 0..scale.mapped_task_runs {
        let index = i32::try_from(m)?;
        let id = TaskRunId::of(connector, &pipeline_name(1), &run_name(0), "process", index);
        ids.push((format!("mapped{m}"), id.0));
    }
    let (names, ids): (Vec<_>, Vec<_>) = ids.into_iter().unzip();
    sqlx::raw_sql(IDS).execute(db).await?;
    let insert = "insert into bench_ids select * from unnest($1::text[], $2::uuid[])";
    sqlx::query(insert).bind(names).bind(ids).execute(db).await?;
    Ok(())
}

const IDS: &str = "
    drop table if exists bench_ids;
    create unlogged table bench_ids (name text primary key, id uuid not null);
    create or replace function bench_id(text) returns uuid language sql stable
        as 'select id from bench_ids where name = $1'";

async fn insert(db: &PgPool, scale: &ConsoleScale) -> anyhow::Result<()> {
    let digest: String = keys::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let statements = [
        "truncate spaces, users, pipelines, runs, task_runs, pipeline_metrics, run_changes, run_counts,
             space_run_counts, run_days, run_windows cascade"
            .to_owned(),
        people(&digest),
        // The events of the benchmark are newer than what is inserted.
        "select setval('observation_version', 1000000)".to_owned(),
        pipelines(scale.pipelines),
        runs(scale),
        grid_task_runs(scale),
        mapped_task_runs(scale),
    ];
    insert_ids(db, scale).await?;
    for statement in statements {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(db).await?;
    }
    for (name, tasks) in [("pipeline0", grid_graph(scale.grid_tasks)), ("pipeline1", mapped_graph())] {
        sqlx::query("update pipelines set tasks = $2 where id = bench_id($1)")
            .bind(name)
            .bind(tasks)
            .execute(db)
            .await?;
    }
    while pipeline_metrics::refresh(db).await? {}
    sqlx::raw_sql("vacuum analyze").execute(db).await?;
    Ok(())
}

fn people(digest: &str) -> String {
    format!(
        "insert into spaces (id, slug, name) values (md5('space')::uuid, '{SPACE}', 'Bench');
         insert into users (id, email, name) values (md5('user')::uuid, 'reader@example.org', 'Reader');
         insert into api_keys (id, user_id, label, prefix, secret_sha256)
         values (md5('key')::uuid, md5('user')::uuid, '', '', decode('{digest}', 'hex'));
         insert into memberships (space_id, user_id, role)
         values (md5('space')::uuid, md5('user')::uuid, 'editor');
         insert into connectors (id, space_id, name, connector_type, config, credentials_public)
         values ({CONNECTOR}, md5('space')::uuid, 'airflow', 'airflow', '{{}}', '{{}}');
         insert into connector_state (connector_id, confirmed_at) values ({CONNECTOR}, now())"
    )
}

fn pipelines(count: u32) -> String {
    format!(
        "insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
             log_offset, observed_at, first_seen_at, name, description, owner, owners, tags, schedule,
             is_paused, is_active, provider_metadata, tasks)
         select bench_id('pipeline' || n), md5('space')::uuid, {CONNECTOR}, 'airflow', name, n, '', n, now(),
             now(), name, 'Synthetic pipeline ' || n, 'owner-' || n % 20, array['owner-' || n % 20],
             array['tag-' || n % 10], '0 * * * *', n % 10 = 9, true, '{{}}', '[]'
         from generate_series(0, {count} - 1) n,
             lateral (select 'pipeline_' || lpad(n::text, 5, '0') as name) x"
    )
}

/// An hourly run each; the newest of the first two pipelines run still.
fn runs(scale: &ConsoleScale) -> String {
    format!(
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, status, provider_status, run_type, logical_date, run_after,
             queued_at, started_at, ended_at, duration_seconds, conf)
         select bench_id('run' || n || '/' || k), md5('space')::uuid, {CONNECTOR},
             bench_id('pipeline' || n), 'airflow', 'scheduled__' || k, n, '', n, now(), state, state,
             'scheduled', at, at, at, at, case when state <> 'running' then at + seconds * interval '1 s' end,
             case when state <> 'running' then seconds end, '{{}}'
         from generate_series(0, {} - 1) n,
             lateral generate_series(0, case n when 0 then {} else {} end - 1) k,
             lateral (select now() - k * interval '1 hour' - interval '10 minutes' as at,
                 case when n < 2 and k = 0 then 'running' when (n + k) % 17 = 3 then 'failed' else 'success'
                 end as state, 60 + (n + k * 37) % 600 as seconds) x",
        scale.pipelines, scale.grid_runs, scale.runs_of_a_pipeline
    )
}

const TASK_RUNS: &str = "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider,
    external_id, version, fingerprint, log_offset, observed_at, task_id, map_index, name, operator, status,
    provider_status, try_number, max_tries, queued_at, started_at, ended_at, duration_seconds, pool, queue,
    hostname)";

fn grid_task_runs(scale: &ConsoleScale) -> String {
    format!(
        "{TASK_RUNS}
         select bench_id('task' || t || '/' || k), r.space_id, r.connector_id, r.pipeline_id, r.id,
             'airflow', 'pipeline_00000/' || r.external_id || '/' || task || '/-1', t, '', t, now(), task, -1,
             task, 'EmptyOperator', state, state,
             1, 1, r.started_at, r.started_at,
             case when state <> 'running' then r.started_at + interval '9 s' end,
             case when state <> 'running' then 9 end, 'default_pool', 'default', 'worker-1'
         from generate_series(0, {} - 1) k join runs r on r.id = bench_id('run0/' || k)
             cross join generate_series(0, {} - 1) t,
             lateral (select 'task_' || lpad(t::text, 4, '0') as task,
                 case when k = 0 and t % 10 = 0 then 'running' when t % 211 = k then 'failed'
                      when t % 211 = k + 1 then 'upstream_failed' else 'success' end as state) x",
        scale.grid_runs, scale.grid_tasks
    )
}

fn mapped_task_runs(scale: &ConsoleScale) -> String {
    format!(
        "{TASK_RUNS}
         select bench_id('mapped' || m), r.space_id, r.connector_id, r.pipeline_id, r.id, 'airflow',
             'pipeline_00001/' || r.external_id || '/process/' || m, m, '', m, now(), 'process', m, 'process',
             'PythonOperator', state, state, 1, 1, at, at + interval '2 s',
             case when state <> 'running' then at + interval '12 s' end,
             case when state <> 'running' then 10 end, 'default_pool', 'default', 'worker-1'
         from runs r cross join generate_series(0, {count} - 1) m,
             lateral (select r.started_at + m * interval '100 ms' as at,
                 case when m % 997 = 7 then 'failed' when m > {count} - 50 then 'running' else 'success'
                 end as state) x
         where r.id = bench_id('run1/0')",
        count = scale.mapped_task_runs
    )
}

/// A chain, as the one that Airflow's history is made of.
fn grid_graph(tasks: u32) -> Value {
    let neighbours =
        |number: Option<u32>| number.filter(|&n| n < tasks).map(task_name).into_iter().collect::<Vec<_>>();
    (0..tasks)
        .map(|number| {
            json!({
                "task_id": task_name(number), "operator": "EmptyOperator",
                "upstream": neighbours(number.checked_sub(1)),
                "downstream": neighbours(number.checked_add(1)),
            })
        })
        .collect()
}

fn mapped_graph() -> Value {
    json!([{ "task_id": "process", "operator": "PythonOperator", "upstream": [], "downstream": [] }])
}
