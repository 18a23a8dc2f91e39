//! Made-up history, written straight into an Airflow's metadata database: thousands of ended runs in seconds,
//! without a scheduler. Knows the tables of Airflow 3.3.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::client::AirflowServer;
use crate::postgres::connect;

/// How much history, and whose.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Begins the DAG ids (`{prefix}_0000`); what an earlier seed left under it is replaced.
    pub prefix: String,
    /// How many DAGs.
    pub dags: u32,
    /// How many runs each has: one an hour, the newest an hour old, every 20th failed.
    pub runs: u32,
    /// How many tasks each run has, in a chain of one-minute tasks.
    pub tasks: u32,
}

/// Writes the history; [`Airflow::database_url`] must be known, so the server one of ours.
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
    for statement in ["ANALYZE dag", "ANALYZE dag_run", "ANALYZE task_instance"] {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

/// What hangs on a DAG's versions and runs goes with them.
async fn clear(connection: &mut PgConnection, seed: &Seed) -> Result<()> {
    for statement in [
        "DELETE FROM task_instance WHERE starts_with(dag_id, $1)",
        "DELETE FROM dag_run WHERE starts_with(dag_id, $1)",
        "DELETE FROM dag_version WHERE starts_with(dag_id, $1)",
        "DELETE FROM dag WHERE starts_with(dag_id, $1)",
    ] {
        sqlx::query(statement).bind(format!("{}_", seed.prefix)).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_dags(connection: &mut PgConnection, seed: &Seed) -> Result<()> {
    sqlx::query("INSERT INTO dag_bundle (name, active) VALUES ('seeded', true) ON CONFLICT DO NOTHING")
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

/// A chain of empty tasks in the form that Airflow 3 stores DAGs in.
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
        "upstream_group_ids": [], "downstream_group_ids": [], "upstream_task_ids": [], "downstream_task_ids": [],
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
    INSERT INTO dag (dag_id, is_paused, is_stale, exceeds_max_non_backfill, last_parsed_time, last_parse_duration,
                     fileloc, relative_fileloc, bundle_name, owners, description, timetable_type,
                     timetable_summary, timetable_description, timetable_periodic, partition_mapper_info,
                     max_active_tasks, max_active_runs, max_consecutive_failed_dag_runs,
                     has_task_concurrency_limits, has_import_errors)
    SELECT id, ordinal % 10 = 0, false, false, now(), 0.1, '/seeded.py', 'seeded.py', 'seeded', 'seeder',
           'Made-up history number ' || ordinal, 'CronTriggerTimetable', '0 * * * *', 'Every hour', true, '[]',
           16, 16, 0, false, false
    FROM unnest($1::text[]) WITH ORDINALITY AS made (id, ordinal)";

const DAG_TAG: &str = "
    INSERT INTO dag_tag (name, dag_id)
    SELECT tag, id FROM unnest($1::text[]) WITH ORDINALITY AS made (id, ordinal),
         LATERAL (VALUES ('seeded'), ('group_' || ordinal % 10)) AS tags (tag)";

const DAG_VERSION: &str = "
    INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated)
    SELECT gen_random_uuid(), 1, id, 'seeded', now(), now() FROM unnest($1::text[]) AS made (id)";

const SERIALIZED_DAG: &str = "
    INSERT INTO serialized_dag (id, dag_id, data, created_at, last_updated, dag_hash, dag_version_id)
    SELECT gen_random_uuid(), made.id, made.graph, now(), now(), md5(made.graph::text), dag_version.id
    FROM unnest($1::text[], $2::jsonb[]) AS made (id, graph) JOIN dag_version ON dag_version.dag_id = made.id";

/// A run starts some seconds after its hour and takes a minute for each of its tasks.
const DAG_RUN: &str = "
    INSERT INTO dag_run (dag_id, run_id, run_type, state, triggered_by, conf, logical_date, data_interval_start,
                         data_interval_end, run_after, queued_at, start_date, end_date,
                         last_scheduling_decision, created_at, updated_at, log_template_id,
                         created_dag_version_id)
    SELECT dag_version.dag_id, 'scheduled__' || to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS+00:00'),
           'scheduled', CASE WHEN number % 20 = 0 THEN 'failed' ELSE 'success' END, 'TIMETABLE',
           jsonb_build_object('number', number), hour, hour, hour, hour, hour + interval '1 second', started, ended,
           ended, hour, ended, (SELECT max(id) FROM log_template), dag_version.id
    FROM dag_version, generate_series(1, $2) AS number,
         LATERAL (SELECT date_trunc('hour', now()) - number * interval '1 hour' AS hour) AS hours,
         LATERAL (SELECT hour + interval '2.5 seconds' AS started,
                         hour + interval '2.5 seconds' + $3 * interval '1 minute' AS ended) AS times
    WHERE starts_with(dag_version.dag_id, $1)
    ORDER BY hour, dag_version.dag_id";

/// In a failed run the middle task fails, on its second try, and those after it are never started.
const TASK_INSTANCE: &str = "
    INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date, duration, state,
                               try_number, max_tries, hostname, unixname, pool, pool_slots, queue,
                               priority_weight, operator, queued_dttm, scheduled_dttm, executor_config,
                               updated_at, task_display_name, dag_version_id)
    SELECT gen_random_uuid(), task_id, dag_run.dag_id, dag_run.run_id, -1, begun, done,
           extract(epoch FROM done - begun), task_state, tries, 1, 'seeded', 'seeder', 'default_pool', 1,
           'default', $2 - number, 'EmptyOperator', begun, begun, '\\x80057d942e'::bytea,
           coalesce(done, dag_run.end_date), task_id, dag_run.created_dag_version_id
    FROM dag_run, generate_series(0, $2 - 1) AS number,
         LATERAL (SELECT 'task_' || lpad(number::text, 2, '0') AS task_id,
                         CASE WHEN dag_run.state = 'success' OR number < $2 / 2 THEN 'success'
                              WHEN number = $2 / 2 THEN 'failed' ELSE 'upstream_failed' END AS task_state) AS states,
         LATERAL (SELECT CASE task_state WHEN 'success' THEN 1 WHEN 'failed' THEN 2 ELSE 0 END AS tries,
                         CASE WHEN task_state <> 'upstream_failed'
                              THEN dag_run.start_date + number * interval '1 minute' END AS begun) AS starts,
         LATERAL (SELECT begun + interval '59.25 seconds' AS done) AS ends
    WHERE starts_with(dag_run.dag_id, $1)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_dag_is_a_chain() {
        let dag = serialized("x", 3);
        let next = |number: usize| dag["dag"]["tasks"][number]["__var"]["downstream_task_ids"].clone();
        assert_eq!((next(0), next(1), next(2)), (json!(["task_01"]), json!(["task_02"]), json!([])));
        assert_eq!(dag["dag"]["task_group"]["children"]["task_02"], json!(["operator", "task_02"]));
    }
}
