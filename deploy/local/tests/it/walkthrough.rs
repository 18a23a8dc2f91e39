//! A walkthrough of the documents, as a new operator would do it: every block that is not marked `not-run` is
//! run unchanged and in order, on a real PostgreSQL, Kafka and Airflow, while our programs run. The effects
//! are compared row by row.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use local::{AirflowServer, Seed};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinHandle;

use crate::checks::checker;
use crate::components::seeded;
use crate::documents::{ShellBlock, printed, runnable};
use crate::operator::Operator;
use crate::table_rows::{self, TableRows, assert_same, stable_tables, stable_tables_without_audit};

const PRODUCTION: &str = "deploy/README.md";
const SIGNALS: &str = "deploy/SIGNALS.md";
const POSTGRES: &str = "postgres-walk-test";
const SEED: u32 = 20;
const TIMEOUT: Duration = Duration::from_secs(120);
/// Sets the variables that `psql` reads if it gets no connection string.
const LIBPQ: &str = r"
    export PGDATABASE=${DATABASE_URL##*/} PGHOST=127.0.0.1
    rest=${DATABASE_URL#*://} && login=${rest%%@*} && address=${rest#*@}
    export PGUSER=${login%%:*} PGPASSWORD=${login#*:} PGPORT=${address#*:} && export PGPORT=${PGPORT%%/*}
    export ORCHESTRATION_{OWNER,WORKER,API}_PASSWORD=$(openssl rand -hex 8)
    psql --no-psqlrc --command 'select 1'
";

/// The operator, the blocks that have not been run yet, and the connected Airflow.
struct Walkthrough {
    operator: Operator,
    blocks: VecDeque<ShellBlock>,
    airflow: AirflowServer,
    client: Client,
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_can_be_followed_in_order_without_data_loss() {
    let (airflow, _guard) = seeded().await.unwrap();
    let seed = Seed { prefix: "made".into(), dags: 2, runs: SEED, tasks: 3 };
    local::seed_airflow(&airflow, &seed).await.unwrap();
    let mut walk = Walkthrough::start(airflow).await;
    walk.compose_secrets().await;
    walk.first_start().await;
    walk.backup_and_restore().await;
    walk.rebuild().await;
    walk.lost_kafka().await;
    walk.upgrade().await;
    walk.keys().await;
    walk.front_page().await;
    walk.backtest().await;
    walk.remaining_blocks().await;
    walk.operator.stop().await;
    assert!(local::LocalService::named(POSTGRES).stop().await.unwrap());
}

impl Walkthrough {
    async fn start(airflow: AirflowServer) -> Self {
        // The test has its own server, because roles are shared by all databases of a server.
        let server = local::postgres_instance(POSTGRES).await.unwrap();
        let name = format!("walk_{}", uuid::Uuid::new_v4().simple());
        let database = local::ensure_database(&server, &name).await.unwrap();
        let kafka = local::kafka().await.unwrap();
        let prefix = format!("{name}.");
        let sealing_key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        let operator = Operator::new(&[
            ("DATABASE_URL", &database),
            ("KAFKA_BOOTSTRAP_SERVERS", &kafka),
            ("ORCHESTRATION_KAFKA_PREFIX", &prefix),
            ("ORCHESTRATION_KAFKA_PARTITIONS", "2"),
            ("ORCHESTRATION_SEALING_KEYS", &sealing_key),
            ("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true"),
            ("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0"),
            ("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0"),
            ("ORCHESTRATION_SPACE", "finance"),
            ("AIRFLOW_URL", &airflow.url),
            ("AIRFLOW_USERNAME", &airflow.username),
            ("AIRFLOW_PASSWORD", &airflow.password),
        ])
        .await;
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Self { operator, blocks: runnable().into(), airflow, client }
    }

    /// Runs the next block of a document, which must be under this heading, and returns its output.
    async fn run_next(&mut self, document: &str, heading: &str) -> String {
        let next = self.blocks.iter().position(|block| block.document == document);
        let block = next
            .and_then(|next| self.blocks.remove(next))
            .unwrap_or_else(|| panic!("{document} has no more blocks"));
        assert_eq!(block.heading, heading, "{document}:{} is the next block", block.line);
        self.operator.run(&block).await
    }

    async fn compose_secrets(&mut self) {
        self.run_next(PRODUCTION, "On one machine, in containers").await;
        let compose = checker("docker-compose").await;
        let resolve = "--env-file deploy/compose.env -f deploy/compose.yaml config --quiet";
        self.operator.shell(&format!("{} {resolve}", compose.display())).await.unwrap();
        let mode = self.operator.shell("stat -Lc %a deploy/compose.env").await.unwrap();
        assert_eq!(mode.trim(), "600");
    }

    async fn first_start(&mut self) {
        self.run_next(PRODUCTION, "The schema and the first users").await;
        self.operator.start().await;
        let groups = self.run_next(PRODUCTION, "Signing in with the company's accounts").await;
        assert!(groups.contains("finance-analysts"), "{groups}");
        let pipelines = self.run_next(PRODUCTION, "The first connector").await;
        assert!(pipelines.contains("made_0000") && pipelines.contains("made_0001"), "{pipelines}");
        let is_read = format!("select count(*) >= {} from runs", 2 * SEED);
        local::eventually_true(&self.pool().await, TIMEOUT, &is_read).await;
        let run =
            self.scalar("select id::text from runs where external_id is not null order by id limit 1").await;
        let path = format!("spaces/finance/orchestration/runs/{run}/comments");
        let comment = json!({"content": "must survive"});
        assert_eq!(self.request(Method::POST, &path, Some(comment)).await.0, StatusCode::CREATED);
    }

    /// A restore brings back the rows of the backup. Changes since then are read again from Kafka, and later
    /// observations of Airflow are applied.
    async fn backup_and_restore(&mut self) {
        let before = self.rows().await;
        self.run_next(PRODUCTION, "Backup").await;

        // Many observations are made between the backup and the loss.
        self.sql("select setval('observation_version', nextval('observation_version') + 100000)").await;
        let run = self.airflow.trigger("made_0000", &json!({"after": "the backup"})).await.unwrap();
        self.sync("").await;
        let later = self.read_model().await;
        assert_ne!(before["runs"], later["runs"]);

        self.operator.stop().await;
        let lost = self.operator.variable("DATABASE_URL").await;
        self.run_next(PRODUCTION, "Restore").await;
        assert_ne!(self.operator.variable("DATABASE_URL").await, lost);
        assert_same(&before, &self.rows().await);
        self.run_next(PRODUCTION, "Restore").await;
        self.operator.start().await;
        self.wait_for_read_model(&later).await;

        let path = format!("dags/made_0000/dagRuns/{run}");
        self.airflow.patch(&path, &json!({"state": "failed"})).await.unwrap();
        self.sync("").await;
        let status = format!("select status from runs where external_id = '{run}'");
        assert_eq!(self.scalar(&status).await, "failed", "an observation after the restore was discarded");
    }

    /// A rebuild reverts changes that are in no topic, and keeps everything else.
    async fn rebuild(&mut self) {
        let before = stable_tables_without_audit(&self.pool().await).await;
        self.sql("update runs set status = 'running' where status = 'success'").await;
        assert_ne!(stable_tables_without_audit(&self.pool().await).await["runs"], before["runs"]);
        self.run_next(PRODUCTION, "Rebuild").await;
        assert_same(&before, &stable_tables_without_audit(&self.pool().await).await);
    }

    /// On an empty Kafka, full syncs publish everything again, so that a rebuild changes nothing.
    async fn lost_kafka(&mut self) {
        let ids = "select md5(string_agg(id::text || status, ',' order by id)) from runs";
        let before = self.scalar(ids).await;
        self.operator.stop().await;
        let new_prefix = "export ORCHESTRATION_KAFKA_PREFIX=${ORCHESTRATION_KAFKA_PREFIX}new.";
        self.operator.shell(new_prefix).await.unwrap();
        self.run_next(PRODUCTION, "When Kafka was lost").await;
        self.operator.start().await;
        self.run_next(PRODUCTION, "When Kafka was lost").await;
        assert_eq!(self.scalar(ids).await, before);
        let synced = self.read_model().await;
        self.operator.shell("orchestration-worker rebuild").await.unwrap();
        assert_same(&synced, &self.read_model().await);
    }

    /// An upgrade from a schema without migration 7. Requests during the upgrade succeed.
    async fn upgrade(&mut self) {
        self.sql(
            "drop function tell_access_changed() cascade; delete from _sqlx_migrations where version = 7",
        )
        .await;
        // The full syncs after the rebuild are recorded in the audit log.
        let mut before = stable_tables_without_audit(&self.pool().await).await;
        let reads = self.start_reads().await;
        self.run_next(PRODUCTION, "Upgrade").await;
        let (succeeded, failed) = reads.stop().await;
        assert!(succeeded > 0 && failed == 0, "{succeeded} reads succeeded, {failed} failed");
        let mut after = stable_tables_without_audit(&self.pool().await).await;
        let migrations = [&mut before, &mut after].map(|rows| rows.remove("_sqlx_migrations").unwrap());
        assert_eq!(migrations[0].lines().count() + 1, migrations[1].lines().count());
        assert_same(&before, &after);
    }

    async fn keys(&mut self) {
        let old = self.operator.variable("ORCHESTRATION_API_KEY").await;
        self.run_next(PRODUCTION, "API keys").await;
        assert_ne!(self.operator.variable("ORCHESTRATION_API_KEY").await, old);
        assert_eq!(self.request(Method::GET, "me", None).await.0, StatusCode::OK);
        // The trigger that the upgrade restored announces the revocation at once.
        assert_eq!(self.request_with(&old, Method::GET, "me", None).await.0, StatusCode::UNAUTHORIZED);

        let first = self.operator.variable("ORCHESTRATION_SEALING_KEYS").await;
        for expected in [0, 1] {
            self.run_next(PRODUCTION, "The sealing key").await;
            let keys = self.operator.variable("ORCHESTRATION_SEALING_KEYS").await;
            assert_eq!(keys.split(',').position(|key| key == first), Some(expected));
            assert_eq!(keys.split(',').count(), 2);
            self.operator.stop().await;
            self.operator.start().await;
            self.sync("").await;
        }
    }

    /// The blocks of the README, with this test's space in place of the demo's.
    async fn front_page(&mut self) {
        let output = self.run_next("README.md", "First calls").await;
        assert!(!output.contains("\"detail\""), "{output}");
        self.run_next("README.md", "Deploy").await;
        let path = "spaces/finance/teams";
        assert!(self.request(Method::GET, path, None).await.1.to_string().contains("Finance data"));
    }

    /// The report has the lines of the example in the document, whatever its numbers and pipelines are.
    async fn backtest(&mut self) {
        let heading = "How often signals are wrong";
        let report = self.run_next(SIGNALS, heading).await;
        let lines = |text: &str| text.lines().map(without_numbers).collect::<BTreeSet<_>>();
        let example = lines(&printed(SIGNALS, heading));
        let (kinds, _) = report.split_once("\npipeline ").unwrap_or_else(|| panic!("{report}"));
        assert!(lines(kinds).is_subset(&example), "{report}\n{example:?}");
        for line in ["kind signals per pipeline, week of runs", "pipeline runs slow late_start late_finish"] {
            assert!(lines(&report).contains(line) && example.contains(line), "{line}: {report}");
        }
    }

    /// Runs the remaining blocks of all documents, as the superuser of the server.
    async fn remaining_blocks(&mut self) {
        self.operator.shell(LIBPQ).await.unwrap();
        while let Some(block) = self.blocks.pop_front() {
            self.operator.run(&block).await;
        }
    }

    async fn sync(&self, flags: &str) {
        let sync = format!("orchestration-worker sync {flags} \"$ORCHESTRATION_CONNECTOR_ID\"");
        self.operator.shell(&sync).await.unwrap_or_else(|error| panic!("{error}"));
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let key = self.operator.variable("ORCHESTRATION_API_KEY").await;
        self.request_with(&key, method, path, body).await
    }

    async fn request_with(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("http://127.0.0.1:{}/api/v1.0/{path}", self.operator.api_port);
        let request = self.client.request(method, url).bearer_auth(key);
        let request = body.iter().fold(request, |request, body| request.json(body));
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    async fn start_reads(&self) -> ContinuousReads {
        let key = self.operator.variable("ORCHESTRATION_API_KEY").await;
        let port = self.operator.api_port;
        ContinuousReads::start(
            format!("http://127.0.0.1:{port}/api/v1.0/spaces/finance/orchestration/runs"),
            key,
        )
    }

    async fn pool(&self) -> PgPool {
        PgPool::connect(&self.operator.variable("DATABASE_URL").await).await.unwrap()
    }

    async fn sql(&self, statement: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&self.pool().await).await.unwrap();
    }

    async fn scalar(&self, query: &str) -> String {
        let query = sqlx::AssertSqlSafe(query.to_owned());
        sqlx::query_scalar(query).fetch_one(&self.pool().await).await.unwrap()
    }

    async fn wait_for_read_model(&self, expected: &TableRows) {
        let deadline = Instant::now() + TIMEOUT;
        while self.read_model().await != *expected && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_same(expected, &self.read_model().await);
    }

    async fn rows(&self) -> TableRows {
        stable_tables(&self.pool().await).await
    }

    async fn read_model(&self) -> TableRows {
        table_rows::read_model(&self.pool().await).await
    }
}

/// The words of a line; each number is 0.
fn without_numbers(line: &str) -> String {
    let words = line.split_whitespace().map(|word| if word.parse::<f64>().is_ok() { "0" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// A client that sends requests continuously, and counts successes and failures.
struct ContinuousReads {
    stop: Arc<AtomicBool>,
    counts: JoinHandle<(u64, u64)>,
}

impl ContinuousReads {
    fn start(url: String, key: String) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let counts = tokio::spawn(async move {
            let client = Client::builder().no_proxy().build().unwrap();
            let (mut succeeded, mut failed) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                let response = client.get(&url).bearer_auth(&key).send().await;
                if response.is_ok_and(|response| response.status().is_success()) {
                    succeeded += 1;
                } else {
                    failed += 1;
                }
            }
            (succeeded, failed)
        });
        Self { stop, counts }
    }

    /// Returns the numbers of successful and of failed requests.
    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.counts.await.unwrap()
    }
}
