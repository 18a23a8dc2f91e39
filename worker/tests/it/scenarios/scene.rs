//! A test beside an Airflow of one release that nobody else uses, with the scenarios' DAGs in it.

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

/// How long one wave may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Between two polls while something happens.
const PAUSE: Duration = Duration::from_secs(2);

const DAGS: [(&str, &str); 7] = [
    ("outcomes", include_str!("dags/outcomes.py")),
    ("by_hand", include_str!("dags/by_hand.py")),
    ("causes", include_str!("dags/causes.py")),
    ("crowd", include_str!("dags/crowd.py")),
    ("edited", include_str!("dags/edited_before.py")),
    ("doomed", include_str!("dags/plain.py")),
    ("removed", include_str!("dags/plain.py")),
];
/// How many DAGs these files hold.
const COUNT: i64 = 14;

pub struct Scene {
    pub airflow: AirflowServer,
    pub setup: AirflowSetup,
    pub test: TestWorker,
    /// Airflow's own database: it tells what goes on there without burdening its API.
    pub metadata: PgPool,
    began: Instant,
}

impl Scene {
    /// Starts the release from scratch and waits until it knows the DAGs.
    pub async fn open(version: AirflowVersion) -> Scene {
        let name = format!("airflow-{version:?}").to_lowercase().replace('_', "-");
        let setup = AirflowSetup { name, version, role: AirflowRole::Blank };
        LocalService::named(&setup.name).stop().await.unwrap();
        let began = Instant::now();
        let airflow = local::airflow_instance(&setup).await.unwrap();
        let metadata = airflow.database_url.as_deref().unwrap();
        let metadata = PgPoolOptions::new().max_connections(4).connect(metadata).await.unwrap();
        let test = Scene::test(&airflow).await;
        let scene = Scene { airflow, setup, test, metadata, began };
        for (name, text) in DAGS {
            scene.write_dag(name, text);
        }
        scene.until(&format!("select count(*) = {COUNT} from dag")).await;
        scene
    }

    /// A test with a connector that looks back over all that the scenarios make.
    async fn test(airflow: &AirflowServer) -> TestWorker {
        let test = TestWorker::start().await;
        test.connect(airflow).await;
        test.execute("update connectors set config = config || '{\"history_days\": 3650}'").await;
        test
    }

    pub async fn close(&self) {
        self.metadata.close().await;
        LocalService::named(&self.setup.name).stop().await.unwrap();
        self.say("the end");
    }

    /// Tells whoever reads the test's output how far it is.
    pub fn say(&self, what: &str) {
        eprintln!("{:?} {:>4} s  {what}", self.setup.version, self.began.elapsed().as_secs());
    }

    pub fn is_airflow_2(&self) -> bool {
        self.airflow.api == AirflowApi::V1
    }

    pub fn write_dag(&self, name: &str, text: &str) {
        let folder = self.airflow.dags_folder.as_ref().unwrap();
        std::fs::write(folder.join(format!("{name}.py")), text).unwrap();
    }

    pub fn remove_dag(&self, name: &str) {
        let folder = self.airflow.dags_folder.as_ref().unwrap();
        std::fs::remove_file(folder.join(format!("{name}.py"))).unwrap();
    }

    /// Asks for a run; `more` says what it is to be given besides its id.
    pub async fn trigger(&self, dag: &str, run: &str, more: Value) {
        let (status, answer) = self.try_trigger(dag, run, more).await;
        assert_eq!(status, 200, "{answer}");
    }

    pub async fn try_trigger(&self, dag: &str, run: &str, more: Value) -> (u16, Value) {
        let mut body = json!({"dag_run_id": run});
        if !self.is_airflow_2() {
            body["logical_date"] = Value::Null;
        }
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let path = format!("dags/{dag}/dagRuns");
        let (status, answer) = self.airflow.request(Method::POST, &path, Some(&body)).await.unwrap();
        (status.as_u16(), answer)
    }

    /// Clears tasks of a run with all that follows them.
    pub async fn clear(&self, dag: &str, run: &str, task: &str) {
        let body = json!({
            "dry_run": false, "dag_run_id": run, "task_ids": [task], "include_downstream": true,
            "only_failed": false, "reset_dag_runs": true,
        });
        self.airflow.post(&format!("dags/{dag}/clearTaskInstances"), &body).await.unwrap();
    }

    /// Waits until Airflow's own database says so.
    pub async fn until(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.metadata::<bool>(what).await {
            assert!(Instant::now() < deadline, "never true in Airflow: {what}");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    async fn metadata<T>(&self, what: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let what = sqlx::AssertSqlSafe(what.to_owned());
        sqlx::query_scalar(what).fetch_one(&self.metadata).await.unwrap()
    }

    /// Writes into Airflow's own database.
    pub async fn change(&self, what: &'static str) {
        sqlx::query(what).execute(&self.metadata).await.unwrap();
    }

    pub async fn poll(&self) {
        sync(&self.test, false).await;
    }

    pub async fn reconcile(&self) {
        sync(&self.test, true).await;
    }

    /// Polls while anything goes on in Airflow, and once more when nothing does.
    pub async fn poll_until_quiet(&self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_quiet().await {
            assert!(Instant::now() < deadline, "Airflow never comes to rest");
            let began = Instant::now();
            self.poll().await;
            tokio::time::sleep(PAUSE.max(began.elapsed())).await;
        }
        self.poll().await;
    }

    /// Whether nothing is at work but what waits on purpose, and nothing changed within a while.
    async fn is_quiet(&self) -> bool {
        let at_work = "
            select exists (
                select from task_instance
                where state in ('scheduled', 'queued', 'running', 'up_for_retry', 'up_for_reschedule', 'restarting'))
            or exists (
                select from dag_run where state in ('queued', 'running') and not exists (
                    select from task_instance t where t.dag_id = dag_run.dag_id and t.run_id = dag_run.run_id
                    and t.state = 'deferred'))";
        if self.metadata::<bool>(at_work).await {
            return false;
        }
        let before = self.state_of_airflow().await;
        tokio::time::sleep(PAUSE).await;
        before == self.state_of_airflow().await
    }

    /// Changes whenever anything does that a mirror must show.
    async fn state_of_airflow(&self) -> String {
        self.metadata(
            "select md5(string_agg(row::text, '' order by row::text)) from (
                 select jsonb_build_array(d->'dag_id', d->'is_paused', d->'is_active', d->'is_stale', d->'owners',
                     d->'description', d->'timetable_summary', d->'next_dagrun_create_after')
                 from (select to_jsonb(dag) d from dag) dags
                 union all
                 select jsonb_build_array(dag_id, run_id, state, start_date, end_date) from dag_run
                 union all
                 select jsonb_build_array(dag_id, run_id, task_id, map_index, state, try_number, start_date, end_date)
                 from task_instance) rows (row)",
        )
        .await
    }

    /// A difference counts when Airflow stood still meanwhile.
    pub async fn assert_mirrored(&self, when: &str) {
        for _ in 0..5 {
            let before = self.state_of_airflow().await;
            let found = differences(&self.test, &self.airflow).await;
            if found.is_empty() {
                return;
            }
            let stood_still = before == self.state_of_airflow().await;
            assert!(!stood_still, "{:?} {when}:\n{}", self.setup.version, found.join("\n"));
            self.poll_until_quiet().await;
        }
        panic!("Airflow did not stand still");
    }

    /// A read model that starts now is as good as one that followed everything.
    pub async fn assert_first_sync_mirrors(&self) {
        let test = Scene::test(&self.airflow).await;
        sync(&test, false).await;
        assert_mirrors(&test, &self.airflow).await;
    }

    /// Asserts that the read model counts so many rows.
    pub async fn assert_count(&self, count: i64, what: &'static str) {
        let found = self.test.number(what).await;
        assert_eq!(found, count, "{:?}: {what}", self.setup.version);
    }
}

/// One sync; again when Airflow, on a machine where much else goes on, took longer than a sync waits.
async fn sync(test: &TestWorker, full: bool) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match test.run_sync(full).await {
            Ok(_) => return,
            Err(SyncError::Provider(ProviderError::Unreachable { reason, .. })) => eprintln!("{reason}"),
            Err(other) => panic!("{other}"),
        }
    }
    panic!("Airflow cannot be reached");
}
