//! Synthetic history: writes thousands of ended runs directly into Airflow's metadata database within
//! seconds, without a scheduler. It depends on the tables of Airflow 3.3.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client::AirflowServer;
use crate::postgres::connect;

/// The amount of synthetic history.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The prefix of the DAG ids (`{prefix}_0000`). History with the same prefix is replaced.
    pub prefix: String,
    /// The number of DAGs.
    pub dags: u32,
    /// The number of runs per DAG: one per hour, the newest an hour old, every 20th failed.
    pub runs: u32,
    /// The number of tasks per run, in a chain. Each takes one minute.
    pub tasks: u32,
}

/// Writes the history. The server must have been started here, because [`AirflowServer::database_url`] is
/// needed.
pub async fn seed_airflow(airflow: &AirflowServer, seed: &Seed) -> Result<()> {
    let url =
        airflow.database_url.as_deref().context("only an Airflow that was started here can be seeded")?;
    let mut connection = connect(url).await?;
    let mut transaction = connection.begin().await?;
    clear(&mut transaction, seed).await?;
    insert_dags(&mut transaction, seed).await?;
    insert_runs(&mut transaction, seed).await?;
    insert_tasks(&mut transaction, seed).await?;
    transaction.commit().await?;
    for statement in ["analyze dag", "analyze dag_run", "analyze task_instance"] {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

/// Deletes the history with this prefix. Rows that reference a version or a run are deleted by foreign keys.
async fn clear(connection: &mut PgConnection, seed: &Seed) -> Result<()> {
    for statement in [
        "delete from task_instance where starts_with(dag_id, $1)",
        "delete from dag_run where starts_with(dag_id, $1)",
        "delete from dag_version where starts_with(dag_id, $1)",
        "delete from dag where starts_with(dag_id, $1)",
    ] {
        sqlx::query(statement).bind(format!("{}_", seed.prefix)).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_dags(connection: &mut PgConnection, seed: &Seed) -> Result<()> {
    sqlx::query("insert into dag_bundle (name, active) values ('seeded', true) on conflict do nothing")
        .execute(&mut *connection)
        .await?;
    let ids: Vec<String> = (0..seed.dags).map(|number| format!("{}_{number:04}", seed.prefix)).collect();
    let graphs: Vec<Value> = ids.iter().map(|id| serialized(id, seed.tasks)).collect();
    for statement in [DAG, DAG_TAG, DAG_VERSION] {
        sqlx::query(statement).bind(&ids).execute(&mut *connection).await?;
    }
    sqlx::query(SERIALIZED_DAG).bind(&ids).bind(&graphs).execute(&mut *connection).await?;
    Ok(())
}

async fn insert_runs(connection: &mut PgConnection, seed: &Seed) -> Result<()> {
    sqlx::query(DAG_RUN)
        .bind(format!("{}_", seed.prefix))
        .bind(i64::from(seed.runs))
        .bind(f64::from(seed.tasks))
        .execute(connection)
        .await?;
    Ok(())
}

async fn insert_tasks(connection: &mut PgConnection, seed: &Seed) -> Result<()> {
    sqlx::query(TASK_INSTANCE)
        .bind(format!("{}_", seed.prefix))
        .bind(i64::from(seed.tasks))
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns a chain of empty tasks, serialized as Airflow 3 stores DAGs.
fn serialized(dag_id: &str, tasks: u32) -> Value {
    let name = |number: u32| format!("task_{number:02}");
    let operators: Vec<Value> = (0..tasks)
        .map(|number| {
            let next: Vec<String> = (number + 1..tasks).take(1).map(name).collect();
            let operator = json!({
                "task_id": name(number), "task_type": "EmptyOperator",
                "_task_module": "airflow.providers.standard.operators.empty", "owner": "seeder",
                "downstream_task_ids": next, "template_fields": [], "template_fields_renderers": {},
                "ui_color": "#e8f7e4", "_needs_expansion": false, "_is_empty": true,
            });
            json!({"__type": "operator", "__var": operator})
        })
        .collect();
    let children: serde_json::Map<String, Value> =
        (0..tasks).map(|number| (name(number), json!(["operator", name(number)]))).collect();
    let group = json!({
        "_group_id": null, "group_display_name": "", "prefix_group_id": true, "tooltip": "",
        "ui_color": "CornflowerBlue", "ui_fgcolor": "#000", "children": children,
        "upstream_group_ids": [], "downstream_group_ids": [],
        "upstream_task_ids": [], "downstream_task_ids": [],
    });
    let timetable = json!({
        "__type": "airflow.timetables.trigger.CronTriggerTimetable",
        "__var": {"expression": "0 * * * *", "timezone": "UTC", "interval": 0.0, "run_immediately": false},
    });
    json!({"__version": 3, "dag": {
        "dag_id": dag_id, "fileloc": "/seeded.py", "relative_fileloc": "seeded.py", "timezone": "UTC",
        "catchup": false, "tags": ["seeded"], "params": [], "edge_info": {}, "dag_dependencies": [],
        "deadline": null, "timetable": timetable, "task_group": group, "tasks": operators,
        "max_active_runs": 16, "max_active_tasks": 16, "max_consecutive_failed_dag_runs": 0,
        "_processor_dags_folder": "/", "disable_bundle_versioning": false, "allowed_run_types": null,
    }})
}

const DAG: &str = "
    insert into dag (dag_id, is_paused, is_stale, exceeds_max_non_backfill, last_parsed_time,
                     last_parse_duration, fileloc, relative_fileloc, bundle_name, owners, description,
                     timetable_type, timetable_summary, timetable_description, timetable_periodic,
                     partition_mapper_info,
                     max_active_tasks, max_active_runs, max_consecutive_failed_dag_runs,
                     has_task_concurrency_limits, has_import_errors)
    select id, ordinal % 10 = 0, false, false, now(), 0.1, '/seeded.py', 'seeded.py', 'seeded', 'seeder',
           'Synthetic history number ' || ordinal, 'CronTriggerTimetable', '0 * * * *', 'Every hour', true,
           '[]', 16, 16, 0, false, false
    from unnest($1::text[]) with ordinality as seeded (id, ordinal)";

const DAG_TAG: &str = "
    insert into dag_tag (name, dag_id)
    select tag, id from unnest($1::text[]) with ordinality as seeded (id, ordinal),
         lateral (values ('seeded'), ('group_' || ordinal % 10)) as tags (tag)";

const DAG_VERSION: &str = "
    insert into dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated)
    select gen_random_uuid(), 1, id, 'seeded', now(), now() from unnest($1::text[]) as seeded (id)";

const SERIALIZED_DAG: &str = "
    insert into serialized_dag (id, dag_id, data, created_at, last_updated, dag_hash, dag_version_id)
    select gen_random_uuid(), seeded.id, seeded.graph, now(), now(), md5(seeded.graph::text), dag_version.id
    from unnest($1::text[], $2::jsonb[]) as seeded (id, graph)
         join dag_version on dag_version.dag_id = seeded.id";

/// A run starts 2.5 seconds after its hour and takes one minute per task.
const DAG_RUN: &str = "
    insert into dag_run (dag_id, run_id, run_type, state, triggered_by, conf, logical_date,
                         data_interval_start, data_interval_end, run_after, queued_at, start_date, end_date,
                         last_scheduling_decision, created_at, updated_at, log_template_id,
                         created_dag_version_id)
    select dag_version.dag_id,
           'scheduled__' || to_char(hour at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00'),
           'scheduled', case when number % 20 = 0 then 'failed' else 'success' end, 'TIMETABLE',
           jsonb_build_object('number', number), hour, hour, hour, hour, hour + interval '1 second', started,
           ended, ended, hour, ended, (select max(id) from log_template), dag_version.id
    from dag_version, generate_series(1, $2) as number,
         lateral (select date_trunc('hour', now()) - number * interval '1 hour' as hour) as hours,
         lateral (select hour + interval '2.5 seconds' as started,
                         hour + interval '2.5 seconds' + $3 * interval '1 minute' as ended) as times
    where starts_with(dag_version.dag_id, $1)
    order by hour, dag_version.dag_id";

/// In a failed run the middle task fails at its second try, and the later tasks are not started.
const TASK_INSTANCE: &str = "
    insert into task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date, duration, state,
                               try_number, max_tries, hostname, unixname, pool, pool_slots, queue,
                               priority_weight, operator, queued_dttm, scheduled_dttm, executor_config,
                               updated_at, task_display_name, dag_version_id)
    select gen_random_uuid(), task_id, dag_run.dag_id, dag_run.run_id, -1, started_at, ended_at,
           extract(epoch from ended_at - started_at), task_state, tries, 1,
           'seeded', 'seeder', 'default_pool',
           1, 'default', $2 - number, 'EmptyOperator', started_at, started_at, '\\x80057d942e'::bytea,
           coalesce(ended_at, dag_run.end_date), task_id, dag_run.created_dag_version_id
    from dag_run, generate_series(0, $2 - 1) as number,
         lateral (select 'task_' || case when number < 10 then '0' else '' end || number as task_id,
                         case when dag_run.state = 'success' or number < $2 / 2 then 'success'
                              when number = $2 / 2 then 'failed'
                              else 'upstream_failed' end as task_state) as states,
         lateral (select case task_state when 'success' then 1 when 'failed' then 2 else 0 end as tries,
                         case when task_state <> 'upstream_failed'
                              then dag_run.start_date + number * interval '1 minute'
                         end as started_at) as starts,
         lateral (select started_at + interval '59.25 seconds' as ended_at) as ends
    where starts_with(dag_run.dag_id, $1)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_dag_is_a_chain_of_tasks() {
        let dag = serialized("x", 3);
        let next = |number: usize| dag["dag"]["tasks"][number]["__var"]["downstream_task_ids"].clone();
        assert_eq!((next(0), next(1), next(2)), (json!(["task_01"]), json!(["task_02"]), json!([])));
        assert_eq!(dag["dag"]["task_group"]["children"]["task_02"], json!(["operator", "task_02"]));
    }
}
