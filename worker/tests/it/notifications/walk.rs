//! From a real Airflow to a receiver: a slow run, a missed start, a failure and an outage. The worker is
//! killed before an incident is stored, before its message is, before the receiver answers, and before the
//! answer is stored. Each change of an incident is reported once, in order; a message that arrives again has
//! the same id.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::time::Duration;

use chrono::{DurationRound, TimeDelta, Utc};
use futures::FutureExt;
use local::{AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, LocalService, SeedRuns};
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use tempfile::TempDir;
use testkit::{WorkerProcess, eventually};

use super::NotificationTest;
use super::receiver::{Answer, FakeReceiver};
use crate::killed::wait_until_blocked;
use crate::scenarios::ONE_SCHEDULER;
use crate::test_worker::TestWorker;

const DAGS: &str = include_str!("dags/walk.py");
const TIMEOUT: Duration = Duration::from_secs(600);
/// The runs of each DAG with expectations, before it is unpaused.
const HISTORY: u32 = 12;

struct Walk {
    service: LocalService,
    airflow: AirflowServer,
    folder: TempDir,
    test: TestWorker,
    rows: NotificationTest,
    receiver: FakeReceiver,
    worker: WorkerProcess,
}

#[tokio::test(flavor = "multi_thread")]
async fn incidents_of_a_real_airflow_are_reported_once_and_in_order() {
    let _lock = ONE_SCHEDULER.lock().await;
    let service = LocalService::named("airflow-incidents");
    let outcome = AssertUnwindSafe(Box::pin(walk(service.clone()))).catch_unwind().await;
    service.stop().await.unwrap();
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

async fn walk(service: LocalService) {
    let mut walk = Walk::start(service).await;
    walk.slow_run().await;
    walk.usual_run().await;
    walk.missed_start().await;
    walk.failure().await;
    walk.outage().await;
    let expected = [
        "opened slow slow_report",
        "resolved slow slow_report",
        "opened late_start missed_load",
        "resolved late_start missed_load",
        "opened failing broken_export",
        "resolved failing broken_export",
        "opened connector_stale airflow",
        "resolved connector_stale airflow",
    ];
    assert_eq!(walk.messages(), expected);
    assert_eq!(walk.receiver.received().len(), expected.len() + 2, "two messages arrived again");
    let incidents = "select concat_ws(' ', kind, status, count) from incidents order by resolved_at";
    assert_eq!(
        walk.rows.texts(incidents).await,
        ["slow resolved 1", "late_start resolved 1", "failing resolved 1", "connector_stale resolved 1"]
    );
}

impl Walk {
    async fn start(service: LocalService) -> Self {
        service.stop().await.unwrap();
        let (name, version) = (service.name.clone(), AirflowVersion::V3_3);
        let setup = AirflowSetup { name, version, role: AirflowRole::Blank };
        let airflow = local::airflow_instance(&setup).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_dags(&airflow, &folder).await;
        let test = TestWorker::idle().await;
        test.connect(&airflow).await;
        test.execute("update connector_state set next_due_at = now()").await;
        let rows = NotificationTest::of_worker(&test).await;
        let receiver = FakeReceiver::start(Answer::Status(204)).await;
        rows.webhook(&receiver.url).await;
        let worker = WorkerProcess::start(&test.settings, &[]).await;
        let walk = Self { service, airflow, folder, test, rows, receiver, worker };
        walk.wait("select count(*) = 2 from expectation_classes where class = 'all'").await;
        walk
    }

    /// The worker is killed before it stores the incident, before it stores the message, and before the
    /// receiver answers.
    async fn slow_run(&mut self) {
        self.airflow.unpause("slow_report").await.unwrap();
        let lock = self.lock("incident_changes").await;
        let run = self.airflow.trigger_by_asset("walk", "slow_report", &json!({})).await.unwrap();
        self.kill_before("insert into incident_changes", lock).await;
        self.wait_until_open("slow").await;
        let lock = self.lock("notification_deliveries").await;
        self.receiver.set_answer(Answer::Silence);
        self.make_due().await;
        self.kill_before("insert into notification_deliveries", lock).await;
        let receiver = &self.receiver;
        eventually("the request arrives", TIMEOUT, async || receiver.received().len() == 1).await;
        self.worker.kill();
        self.receiver.set_answer(Answer::Status(204));
        self.restart().await;
        self.wait_until_delivered(1).await;
        std::fs::write(self.folder.path().join("release"), "").unwrap();
        self.airflow.wait_for_run("slow_report", &run, TIMEOUT).await.unwrap();
    }

    /// The worker is killed after the receiver has answered, before it stores this.
    async fn usual_run(&mut self) {
        let lock = self.lock("delivery_attempts").await;
        self.airflow.trigger_by_asset("walk", "slow_report", &json!({})).await.unwrap();
        self.kill_before("insert into delivery_attempts", lock).await;
        self.wait_until_delivered(2).await;
    }

    /// What was due before the DAG was unpaused runs then, and is not late. What is due while the scheduler
    /// does not work is.
    async fn missed_start(&self) {
        self.airflow.unpause("missed_load").await.unwrap();
        self.wait(&format!(
            "select count(*) > {HISTORY} from runs r join pipelines p on p.id = r.pipeline_id
             where p.name = 'missed_load' and r.status = 'success'"
        ))
        .await;
        let suspended = self.service.suspend("scheduler").unwrap();
        self.wait_until_open("late_start").await;
        self.make_due().await;
        self.wait_until_delivered(3).await;
        drop(suspended);
        self.wait_until_delivered(4).await;
    }

    async fn failure(&self) {
        self.airflow.unpause("broken_export").await.unwrap();
        for (conf, state, delivered) in [(json!({}), "failed", 5), (json!({"works": true}), "success", 6)] {
            let run = self.airflow.trigger("broken_export", &conf).await.unwrap();
            assert_eq!(self.airflow.wait_for_run("broken_export", &run, TIMEOUT).await.unwrap(), state);
            if state == "failed" {
                self.wait_until_open("failing").await;
                self.make_due().await;
            }
            self.wait_until_delivered(delivered).await;
        }
        let shadow = "select count(*) from task_runs where status = 'upstream_failed'";
        assert_eq!(self.test.number(shadow).await, 5);
    }

    /// Airflow answers nothing, while ten minutes pass.
    async fn outage(&self) {
        let suspended = self.service.suspend("").unwrap();
        eventually("the connector is stale", TIMEOUT, async || {
            self.test
                .execute(
                    "update connector_state set
                         confirmed_at = least(confirmed_at, now() - interval '10 minutes'),
                         last_success_at = least(last_success_at, now() - interval '10 minutes');
                     update connectors set created_at = now() - interval '1 day',
                         updated_at = now() - interval '1 day'",
                )
                .await;
            self.test.number("select count(*) from incidents where status = 'open'").await == 1
        })
        .await;
        self.wait_until_open("connector_stale").await;
        self.make_due().await;
        self.wait_until_delivered(7).await;
        drop(suspended);
        self.wait_until_delivered(8).await;
    }

    async fn wait(&self, query: &str) {
        self.test.wait_for_within(TIMEOUT, query).await;
    }

    /// Waits until an incident of this kind is the only open one, and its report is scheduled.
    async fn wait_until_open(&self, kind: &str) {
        self.wait(&format!(
            "select count(*) = 1 and bool_and(i.kind = '{kind}' and t.next_change = 'opened') from incidents i
             left join notification_threads t on t.incident_id = i.id where i.status = 'open'"
        ))
        .await;
    }

    /// Ends the wait of half a minute before an incident is reported.
    async fn make_due(&self) {
        self.rows.sql("update notification_threads set due_at = now() where next_change = 'opened'").await;
    }

    async fn wait_until_delivered(&self, messages: i64) {
        self.wait(&format!(
            "select count(*) = {messages} from notification_deliveries where status = 'delivered'"
        ))
        .await;
    }

    /// Locks a table against changes.
    async fn lock(&self, table: &str) -> Transaction<'static, Postgres> {
        let mut lock = self.test.pool.begin().await.unwrap();
        let statement = sqlx::AssertSqlSafe(format!("lock table {table} in share mode"));
        sqlx::query(statement).execute(&mut *lock).await.unwrap();
        lock
    }

    /// Kills the worker when its statement waits for the lock. The statement is not executed.
    async fn kill_before(&mut self, statement: &str, lock: Transaction<'static, Postgres>) {
        wait_until_blocked(&self.test, statement).await;
        self.worker.kill();
        // The server would execute the statement of its dead client.
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and usename = current_user and wait_event_type = 'Lock'",
        )
        .execute(&self.test.worker.runner.pool)
        .await
        .unwrap();
        lock.rollback().await.unwrap();
        self.restart().await;
    }

    /// Ends the leases of the dead worker, and starts another one.
    async fn restart(&mut self) {
        self.test
            .execute(
                "update connector_state set lease_until = now();
                 update notification_channels set lease_until = now()",
            )
            .await;
        self.worker = WorkerProcess::start(&self.test.settings, &[]).await;
    }

    /// The messages by the time of their first arrival, such as `opened slow sales`.
    fn messages(&self) -> Vec<String> {
        let mut messages: Vec<(String, String)> = Vec::new();
        for request in self.receiver.received() {
            let (id, text) = (request.header("webhook-id"), describe(&request.json()));
            match messages.iter().find(|message| message.0 == id) {
                Some(first) => assert_eq!(first.1, text, "a message that arrives again is the same"),
                None => messages.push((id, text)),
            }
        }
        messages.into_iter().map(|(_, text)| text).collect()
    }
}

fn describe(body: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let incidents = body["data"]["incidents"].as_array().unwrap().iter().map(|incident| {
        let subject = incident["pipeline"].get("name").unwrap_or(&incident["connector_name"]);
        [&incident["change"], &incident["kind"], subject].map(text).join(" ")
    });
    incidents.collect::<Vec<_>>().join(", ")
}

/// Writes the DAGs, and a history of those with expectations. The runs of one take most of an hour, so that
/// its end is not late, too.
async fn write_dags(airflow: &AirflowServer, folder: &TempDir) {
    let newest = Utc::now().duration_trunc(TimeDelta::minutes(1)).unwrap() - TimeDelta::hours(1);
    let release = folder.path().join("release");
    let text = DAGS.replace("RELEASE", release.to_str().unwrap());
    std::fs::write(airflow.dags_folder.as_ref().unwrap().join("walk.py"), text).unwrap();
    for (dag, task, scheduled, seconds) in
        [("slow_report", "report", false, 5), ("missed_load", "load", true, 3_300)]
    {
        airflow.wait_for_dag(dag, TIMEOUT).await.unwrap();
        let (dag_id, task_id) = (dag.to_owned(), task.to_owned());
        let runs = SeedRuns { dag_id, task_id, scheduled, newest, runs: HISTORY, seconds };
        local::seed_runs(airflow, &runs).await.unwrap();
    }
}
