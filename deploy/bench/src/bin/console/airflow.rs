//! An Airflow with as many DAGs, whose first one has as many tasks and runs.

use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed};

use crate::data::ConsoleScale;

/// The prefix of the DAG of the grid; its id is this and `_0000`.
pub(crate) const GRID: &str = "grid";

pub(crate) async fn seeded(scale: &ConsoleScale) -> anyhow::Result<AirflowServer> {
    let name = "airflow-console".to_owned();
    let setup = AirflowSetup { name, version: AirflowVersion::V3_3, role: AirflowRole::ApiOnly };
    let airflow = local::airflow_instance(&setup).await?;
    let list = Seed {
        prefix: "list".to_owned(),
        dags: scale.pipelines - 1,
        runs: scale.runs_of_a_pipeline,
        tasks: 1,
    };
    let grid = Seed { prefix: GRID.to_owned(), dags: 1, runs: scale.grid_runs, tasks: scale.grid_tasks };
    for seed in [list, grid] {
        local::seed_airflow(&airflow, &seed).await?;
    }
    Ok(airflow)
}
