//! Ended runs of a DAG that exists, written directly into Airflow's metadata database, so that it is known
//! what its runs usually do. It depends on the tables of Airflow 3.3.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Connection;

use super::client::AirflowServer;
use crate::postgres::connect;

/// Successful runs of a DAG with one task.
#[derive(Clone, Debug)]
pub struct SeedRuns {
    /// The DAG, which Airflow has parsed.
    pub dag_id: String,
    /// Its task.
    pub task_id: String,
    /// Whether they are runs of its schedule; otherwise assets triggered them.
    pub scheduled: bool,
    /// When the newest run was due.
    pub newest: DateTime<Utc>,
    /// The number of runs.
    pub runs: u32,
    /// How long each took, in seconds. Some are a second or two longer.
    pub seconds: u32,
}

/// Writes the runs, an hour apart. They must not be there already, and the server must have been started
/// here.
pub async fn seed_runs(airflow: &AirflowServer, seed: &SeedRuns) -> Result<()> {
    seed_runs_every(airflow, seed, TimeDelta::hours(1)).await
}

/// Like [`seed_runs`], with this time between two due times.
pub(crate) async fn seed_runs_every(
    airflow: &AirflowServer,
    seed: &SeedRuns,
    interval: TimeDelta,
) -> Result<()> {
    let url =
        airflow.database_url.as_deref().context("only an Airflow that was started here can be seeded")?;
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await?;
    let inserted = sqlx::query(DAG_RUNS)
        .bind(&seed.dag_id)
        .bind(if seed.scheduled { "scheduled" } else { "asset_triggered" })
        .bind(seed.newest)
        .bind(i64::from(seed.runs))
        .bind(f64::from(seed.seconds))
        .bind(interval)
        .execute(&mut *transaction)
        .await?;
    ensure!(inserted.rows_affected() > 0, "Airflow has not parsed the DAG {}", seed.dag_id);
    sqlx::query(TASK_INSTANCES).bind(&seed.dag_id).bind(&seed.task_id).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(connection.close().await?)
}

/// A run starts 1.5 seconds after it is due. It changes now, so that a poll of changes reads it, too.
const DAG_RUNS: &str = "
    insert into dag_run (dag_id, run_id, run_type, state, triggered_by, conf, logical_date,
                         data_interval_start, data_interval_end, run_after, queued_at, start_date, end_date,
                         last_scheduling_decision, created_at, updated_at, log_template_id,
                         created_dag_version_id)
    select $1, $2 || '__' || to_char(due at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00'), $2,
           'success', case $2 when 'scheduled' then 'TIMETABLE' else 'ASSET' end, '{}'::jsonb, planned,
           planned, planned, due, due + interval '1 second', started, ended, ended, due, now(),
           (select max(id) from log_template), version.id
    from (select id from dag_version where dag_id = $1 order by version_number desc limit 1) version,
         generate_series(0, $4 - 1) as number,
         lateral (select $3 - number * $6 as due) as dues,
         lateral (select case $2 when 'scheduled' then due end as planned,
                         due + interval '1.5 seconds' as started,
                         due + (1.5 + $5 + number % 3) * interval '1 second' as ended) as times
    order by due";

/// The task of each run that has none.
const TASK_INSTANCES: &str = "
    insert into task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date, duration, state,
                               try_number, max_tries, hostname, unixname, pool, pool_slots, queue,
                               priority_weight, operator, queued_dttm, scheduled_dttm, executor_config,
                               updated_at, task_display_name, dag_version_id)
    select gen_random_uuid(), $2, dag_id, run_id, -1, start_date, end_date,
           extract(epoch from end_date - start_date), 'success', 1, 0, 'seeded', 'seeder', 'default_pool', 1,
           'default', 1, 'PythonOperator', start_date, start_date, '\\x80057d942e'::bytea, now(), $2,
           created_dag_version_id
    from dag_run
    where dag_id = $1 and state = 'success' and not exists (
        select from task_instance known
        where known.dag_id = dag_run.dag_id and known.run_id = dag_run.run_id)";
