//! An Airflow of one release with the scenarios' DAGs, which no other test uses, and a worker that mirrors
//! it.

use std::time::{Duration, Instant};

use local::{AirflowApi, AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, LocalService};
use provider::ProviderError;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use worker::sync::SyncError;

use crate::mirror::{assert_mirrors, differences};
use crate::test_worker::TestWorker;

/// Long enough for one step on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(1800);
/// Between two polls while Airflow works.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

const DAGS: [(&str, &str); 8] = [
    ("outcomes", include_str!("dags/outcomes.py")),
    ("by_hand", include_str!("dags/by_hand.py")),
    ("causes", include_str!("dags/causes.py")),
    ("crowd", include_str!("dags/crowd.py")),
    ("edited", include_str!("dags/edited_before.py")),
    ("doomed", include_str!("dags/plain.py")),
    ("parameters", include_str!("dags/parameters.py")),
    ("removed", include_str!("dags/plain.py")),
];
/// The number of DAGs in these files.
const DAG_COUNT: i64 = 15;

pub(super) struct MirroredAirflow {
    pub airflow: AirflowServer,
    pub setup: AirflowSetup,
    pub worker: TestWorker,
    /// Airflow's own database, which shows its state without load on its API.
    pub metadata: PgPool,
    began: Instant,
}

impl MirroredAirflow {
    /// Starts the release from scratch, and waits until it has parsed the DAGs.
    pub(super) async fn open(version: AirflowVersion) -> Self {
        let name = format!("airflow-{version:?}").to_lowercase().replace('_', "-");
        let setup = AirflowSetup { name, version, role: AirflowRole::Blank };
        LocalService::named(&setup.name).stop().await.unwrap();
        let began = Instant::now();
        let airflow = local::airflow_instance(&setup).await.unwrap();
        let metadata = airflow.database_url.as_deref().unwrap();
        let metadata = PgPoolOptions::new().max_connections(4).connect(metadata).await.unwrap();
        let worker = Self::start_worker(&airflow).await;
        let mirrored = Self { airflow, setup, worker, metadata, began };
        for (name, text) in DAGS {
            mirrored.write_dag(name, text);
        }
        mirrored.wait_for(&format!("select count(*) = {DAG_COUNT} from dag")).await;
        mirrored
    }

    /// A worker whose connector reads a history long enough for all runs of the scenarios.
    async fn start_worker(airflow: &AirflowServer) -> TestWorker {
        let test = TestWorker::start().await;
        test.connect(airflow).await;
        test.execute("update connectors set config = config || '{\"history_days\": 3650}'").await;
        test
    }

    pub(super) async fn close(&self) {
        self.metadata.close().await;
        LocalService::named(&self.setup.name).stop().await.unwrap();
        self.log("stopped");
    }

    /// Prints the progress of the test.
    pub(super) fn log(&self, query: &str) {
        eprintln!("{:?} {:>4} s  {query}", self.setup.version, self.began.elapsed().as_secs());
    }

    pub(super) fn is_airflow_2(&self) -> bool {
        self.airflow.api == AirflowApi::V1
    }

    pub(super) fn write_dag(&self, name: &str, text: &str) {
        let folder = self.airflow.dags_folder.as_ref().unwrap();
        std::fs::write(folder.join(format!("{name}.py")), text).unwrap();
    }

    pub(super) fn remove_dag(&self, name: &str) {
        let folder = self.airflow.dags_folder.as_ref().unwrap();
        std::fs::remove_file(folder.join(format!("{name}.py"))).unwrap();
    }

    /// Triggers a run; `more` has the fields besides its id.
    pub(super) async fn trigger(&self, dag: &str, run: &str, more: Value) {
        let (status, answer) = self.try_trigger(dag, run, more).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(super) async fn try_trigger(&self, dag: &str, run: &str, more: Value) -> (u16, Value) {
        let mut body = json!({"dag_run_id": run});
        if !self.is_airflow_2() {
            body["logical_date"] = Value::Null;
        }
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("dags/{dag}/dagRuns");
        let (status, answer) = self.airflow.request(Method::POST, &path, Some(&body)).await.unwrap();
        (status.as_u16(), answer)
    }

    /// Clears a task of a run with all downstream tasks.
    pub(super) async fn clear(&self, dag: &str, run: &str, task: &str) {
        let body = json!({
            "dry_run": false, "dag_run_id": run, "task_ids": [task], "include_downstream": true,
            "only_failed": false, "reset_dag_runs": true,
        });
        self.airflow.post(&format!("dags/{dag}/clearTaskInstances"), &body).await.unwrap();
    }

    /// Waits until a query on Airflow's own database returns true.
    pub(super) async fn wait_for(&self, query: &str) {
        testkit::eventually_true(&self.metadata, TIMEOUT, query).await;
    }

    async fn metadata<T>(&self, query: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let query = sqlx::AssertSqlSafe(query.to_owned());
        sqlx::query_scalar(query).fetch_one(&self.metadata).await.unwrap()
    }

    /// Writes into Airflow's own database.
    pub(super) async fn change(&self, query: &'static str) {
        sqlx::query(query).execute(&self.metadata).await.unwrap();
    }

    pub(super) async fn poll(&self) {
        sync(&self.worker, false).await;
    }

    pub(super) async fn reconcile(&self) {
        sync(&self.worker, true).await;
    }

    /// Polls while Airflow works, and once more afterwards.
    pub(super) async fn poll_until_quiet(&self) {
        let deadline = Instant::now() + TIMEOUT;
        while !self.is_quiet().await {
            assert!(Instant::now() < deadline, "Airflow does not finish its work");
            let began = Instant::now();
            self.poll().await;
            tokio::time::sleep(POLL_INTERVAL.max(began.elapsed())).await;
        }
        self.poll().await;
    }

    /// Whether only deferred tasks are unfinished, and nothing has changed for a while.
    async fn is_quiet(&self) -> bool {
        let is_working = "
            select exists (
                select from task_instance
                where state in ('scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule',
                'restarting'))
            or exists (
                select from dag_run where state in ('queued', 'running') and not exists (
                    select from task_instance t where t.dag_id = dag_run.dag_id and t.run_id = dag_run.run_id
                    and t.state = 'deferred'))";
        if self.metadata::<bool>(is_working).await {
            return false;
        }
        let before = self.state_hash().await;
        tokio::time::sleep(POLL_INTERVAL).await;
        before == self.state_hash().await
    }

    /// A hash of all state that the read model must contain.
    async fn state_hash(&self) -> String {
        self.metadata(
            "select md5(string_agg(row::text, '' order by row::text)) from (
                 select jsonb_build_array(d->'dag_id', d->'is_paused', d->'is_active', d->'is_stale',
                 d->'owners', d->'description', d->'timetable_summary', d->'next_dagrun_create_after')
                 from (select to_jsonb(dag) d from dag) dags
                 union all
                 select jsonb_build_array(dag_id, run_id, state, start_date, end_date) from dag_run
                 union all
                 select jsonb_build_array(dag_id, run_id, task_id, map_index, state, try_number, start_date,
                 end_date)
                 from task_instance) rows (row)",
        )
        .await
    }

    /// Asserts that the read model is equal to Airflow. A difference counts only if Airflow did not change
    /// meanwhile.
    pub(super) async fn assert_mirrored(&self, when: &str) {
        for _ in 0..5 {
            let before = self.state_hash().await;
            let found = differences(&self.worker, &self.airflow).await;
            if found.is_empty() {
                return;
            }
            let is_unchanged = before == self.state_hash().await;
            assert!(!is_unchanged, "{:?} {when}:\n{}", self.setup.version, found.join("\n"));
            self.poll_until_quiet().await;
        }
        panic!("Airflow changed at every comparison");
    }

    /// Asserts that a new read model is equal to Airflow too.
    pub(super) async fn assert_first_sync_mirrors(&self) {
        let worker = Self::start_worker(&self.airflow).await;
        sync(&worker, false).await;
        assert_mirrors(&worker, &self.airflow).await;
    }

    /// Asserts the result of a count on the read model.
    pub(super) async fn assert_count(&self, count: i64, query: &'static str) {
        let found = self.worker.number(query).await;
        assert_eq!(found, count, "{:?}: {query}", self.setup.version);
    }
}

/// Syncs once. A sync that times out on a busy machine is repeated.
async fn sync(test: &TestWorker, full: bool) {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        match test.run_sync(full).await {
            Ok(_) => return,
            Err(SyncError::Provider(ProviderError::Unreachable { reason, .. })) => eprintln!("{reason}"),
            Err(other) => panic!("{other}"),
        }
    }
    panic!("Airflow cannot be reached");
}
