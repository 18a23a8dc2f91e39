//! A new operator goes through the documents, in order, as they are written: on a real PostgreSQL, Kafka and Airflow, with
//! our programs running. Every block that is not marked is run, and what came of it is compared, row by row.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use local::{AirflowServer, Seed};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::checks::checker;
use crate::documents::{Block, runnable};
use crate::operator::Operator;
use crate::parts::seeded;
use crate::rows::{self, Rows, assert_same};

const PRODUCTION: &str = "deploy/README.md";
const POSTGRES: &str = "postgres-walk-test";
const SEED: u32 = 20;
/// The database's place as `psql` takes it where it is told none.
const LIBPQ: &str = r"
    export PGDATABASE=${DATABASE_URL##*/} PGHOST=127.0.0.1
    rest=${DATABASE_URL#*://} && login=${rest%%@*} && address=${rest#*@}
    export PGUSER=${login%%:*} PGPASSWORD=${login#*:} PGPORT=${address#*:} && export PGPORT=${PGPORT%%/*}
    export ORCHESTRATION_{OWNER,WORKER,API}_PASSWORD=$(openssl rand -hex 8)
    psql --no-psqlrc --command 'select 1'
";

/// The operator, what is still to be read, and the Airflow that is mirrored.
struct Walk {
    operator: Operator,
    ahead: VecDeque<Block>,
    airflow: AirflowServer,
    client: Client,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_operator_goes_through_the_documents_and_loses_nothing() {
    let (airflow, _alone) = seeded().await.unwrap();
    let seed = Seed { prefix: "made".into(), dags: 2, runs: SEED, tasks: 3 };
    local::seed_airflow(&airflow, &seed).await.unwrap();
    let mut walk = Walk::begin(airflow).await;
    walk.compose_secrets().await;
    walk.first_start().await;
    walk.backup_and_restore().await;
    walk.rebuild().await;
    walk.lost_kafka().await;
    walk.upgrade().await;
    walk.keys().await;
    walk.what_to_try().await;
    walk.the_rest().await;
    walk.operator.stop().await;
    assert!(local::LocalService::named(POSTGRES).stop().await.unwrap());
}

impl Walk {
    async fn begin(airflow: AirflowServer) -> Self {
        // A server of its own: what an operator does to roles is done to all databases of a server.
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
        Self { operator, ahead: runnable().into(), airflow, client }
    }

    /// Runs the next block of a page, which must stand under this heading; what it printed.
    async fn read(&mut self, document: &str, heading: &str) -> String {
        let next = self.ahead.iter().position(|block| block.document == document);
        let block =
            next.and_then(|next| self.ahead.remove(next)).unwrap_or_else(|| panic!("{document} has ended"));
        assert_eq!(block.heading, heading, "{document}:{} comes next", block.line);
        self.operator.run(&block).await
    }

    async fn compose_secrets(&mut self) {
        self.read(PRODUCTION, "On one machine, in containers").await;
        let compose = checker("docker-compose").await;
        let resolve = "--env-file deploy/compose.env -f deploy/compose.yaml config --quiet";
        self.operator.shell(&format!("{} {resolve}", compose.display())).await.unwrap();
        let mode = self.operator.shell("stat -Lc %a deploy/compose.env").await.unwrap();
        assert_eq!(mode.trim(), "600");
    }

    async fn first_start(&mut self) {
        self.read(PRODUCTION, "The schema and the first people").await;
        self.operator.start().await;
        let pipelines = self.read(PRODUCTION, "The first connector").await;
        assert!(pipelines.contains("made_0000") && pipelines.contains("made_0001"), "{pipelines}");
        self.until("select count(*) >= $1 from runs", i64::from(2 * SEED)).await;
        let run =
            self.number("select id::text from runs where external_id is not null order by id limit 1").await;
        let path = format!("spaces/finance/orchestration/runs/{run}/comments");
        let comment = json!({"content": "seen, and kept"});
        assert_eq!(self.ask(Method::POST, &path, Some(comment)).await.0, StatusCode::CREATED);
    }

    /// What was there is there again, what Kafka heard since comes back, and what Airflow says next counts.
    async fn backup_and_restore(&mut self) {
        let before = self.rows().await;
        self.read(PRODUCTION, "Backup").await;

        // A long day goes by between the backup and the loss.
        self.sql("select setval('observation_version', nextval('observation_version') + 100000)").await;
        let run = self.airflow.trigger("made_0000", &json!({"after": "the backup"})).await.unwrap();
        self.sync("").await;
        let later = self.read_model().await;
        assert_ne!(before["runs"], later["runs"]);

        self.operator.stop().await;
        let lost = self.operator.variable("DATABASE_URL").await;
        self.read(PRODUCTION, "Restore").await;
        assert_ne!(self.operator.variable("DATABASE_URL").await, lost);
        assert_same(&before, &self.rows().await);
        self.read(PRODUCTION, "Restore").await;
        self.operator.start().await;
        self.until_read_model_is(&later).await;

        let path = format!("dags/made_0000/dagRuns/{run}");
        self.airflow.patch(&path, &json!({"state": "failed"})).await.unwrap();
        self.sync("").await;
        let status = format!("select status from runs where external_id = '{run}'");
        assert_eq!(
            self.number(&status).await,
            "failed",
            "what Airflow said after the restore was passed over"
        );
    }

    /// What no topic ever said does not survive; all else does.
    async fn rebuild(&mut self) {
        // A rebuild leaves out what counts nothing.
        self.sql("delete from run_counts where n = 0").await;
        let before = rows::lasting_but_audit(&self.pool().await).await;
        self.sql("update runs set status = 'running' where status = 'success'").await;
        assert_ne!(rows::lasting_but_audit(&self.pool().await).await["runs"], before["runs"]);
        self.read(PRODUCTION, "Rebuild").await;
        assert_same(&before, &rows::lasting_but_audit(&self.pool().await).await);
    }

    /// On a Kafka that knows nothing: the topics say everything again, so that a rebuild changes nothing.
    async fn lost_kafka(&mut self) {
        let ids = "select md5(string_agg(id::text || status, ',' order by id)) from runs";
        let before = self.number(ids).await;
        self.operator.stop().await;
        let another = "export ORCHESTRATION_KAFKA_PREFIX=${ORCHESTRATION_KAFKA_PREFIX}anew.";
        self.operator.shell(another).await.unwrap();
        self.read(PRODUCTION, "When Kafka was lost").await;
        self.operator.start().await;
        self.read(PRODUCTION, "When Kafka was lost").await;
        assert_eq!(self.number(ids).await, before);
        let told = self.read_model().await;
        self.operator.shell("orchestration-worker rebuild").await.unwrap();
        assert_same(&told, &self.read_model().await);
    }

    /// From a schema that lacks a migration; readers notice nothing.
    async fn upgrade(&mut self) {
        self.sql(
            "drop function tell_access_changed() cascade; delete from _sqlx_migrations where version = 7",
        )
        .await;
        let mut before = self.rows().await;
        let reading = self.keep_reading().await;
        self.read(PRODUCTION, "Upgrade").await;
        let (good, bad) = reading.stop().await;
        assert!(good > 0 && bad == 0, "{good} reads succeeded, {bad} failed");
        let mut after = self.rows().await;
        let migrations = [&mut before, &mut after].map(|rows| rows.remove("_sqlx_migrations").unwrap());
        assert_eq!(migrations[0].lines().count() + 1, migrations[1].lines().count());
        assert_same(&before, &after);
    }

    async fn keys(&mut self) {
        let old = self.operator.variable("ORCHESTRATION_API_KEY").await;
        self.read(PRODUCTION, "API keys").await;
        assert_ne!(self.operator.variable("ORCHESTRATION_API_KEY").await, old);
        assert_eq!(self.ask(Method::GET, "me", None).await.0, StatusCode::OK);
        // Known at once by what the upgrade brought back.
        assert_eq!(self.ask_as(&old, Method::GET, "me", None).await.0, StatusCode::UNAUTHORIZED);

        let first = self.operator.variable("ORCHESTRATION_SEALING_KEYS").await;
        for wanted in [0, 1] {
            self.read(PRODUCTION, "The sealing key").await;
            let keys = self.operator.variable("ORCHESTRATION_SEALING_KEYS").await;
            assert_eq!(keys.split(',').position(|key| key == first), Some(wanted));
            assert_eq!(keys.split(',').count(), 2);
            self.operator.stop().await;
            self.operator.start().await;
            self.sync("").await;
        }
    }

    /// The front page, with our own space in place of the demo's.
    async fn what_to_try(&mut self) {
        let said = self.read("README.md", "What to try next").await;
        assert!(!said.contains("\"detail\""), "{said}");
        self.read("README.md", "Running it").await;
        let path = "spaces/finance/teams";
        assert!(self.ask(Method::GET, path, None).await.1.to_string().contains("Finance data"));
    }

    /// Whatever else may be run must run, by whoever may do everything on the server.
    async fn the_rest(&mut self) {
        self.operator.shell(LIBPQ).await.unwrap();
        while let Some(block) = self.ahead.pop_front() {
            self.operator.run(&block).await;
        }
    }

    async fn sync(&self, flags: &str) {
        let sync = format!("orchestration-worker sync {flags} \"$ORCHESTRATION_CONNECTOR_ID\"");
        self.operator.shell(&sync).await.unwrap_or_else(|complaint| panic!("{complaint}"));
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let key = self.operator.variable("ORCHESTRATION_API_KEY").await;
        self.ask_as(&key, method, path, body).await
    }

    async fn ask_as(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let url = format!("http://127.0.0.1:{}/api/v1.0/{path}", self.operator.api_port);
        let request = self.client.request(method, url).bearer_auth(key);
        let request = body.iter().fold(request, |request, body| request.json(body));
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or_default())
    }

    async fn keep_reading(&self) -> Reading {
        let key = self.operator.variable("ORCHESTRATION_API_KEY").await;
        let port = self.operator.api_port;
        Reading::start(format!("http://127.0.0.1:{port}/api/v1.0/spaces/finance/orchestration/runs"), key)
    }

    async fn pool(&self) -> PgPool {
        PgPool::connect(&self.operator.variable("DATABASE_URL").await).await.unwrap()
    }

    async fn sql(&self, statement: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&self.pool().await).await.unwrap();
    }

    async fn number(&self, question: &str) -> String {
        let question = sqlx::AssertSqlSafe(question.to_owned());
        sqlx::query_scalar(question).fetch_one(&self.pool().await).await.unwrap()
    }

    async fn until(&self, question: &'static str, bound: i64) {
        let pool = self.pool().await;
        let deadline = Instant::now() + Duration::from_secs(120);
        while !sqlx::query_scalar::<_, bool>(question).bind(bound).fetch_one(&pool).await.unwrap() {
            assert!(Instant::now() < deadline, "never: {question}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn until_read_model_is(&self, wanted: &Rows) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.read_model().await != *wanted && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        assert_same(wanted, &self.read_model().await);
    }

    async fn rows(&self) -> Rows {
        rows::lasting(&self.pool().await).await
    }

    async fn read_model(&self) -> Rows {
        rows::read_model(&self.pool().await).await
    }
}

/// Somebody who reads on and on, and counts what went well.
struct Reading {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicU64>,
    bad: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Reading {
    fn start(url: String, key: String) -> Self {
        let (stop, good, bad) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (stopped, well, ill) = (stop.clone(), good.clone(), bad.clone());
        let task = tokio::spawn(async move {
            let client = Client::builder().no_proxy().build().unwrap();
            while !stopped.load(Ordering::Relaxed) {
                let answer = client.get(&url).bearer_auth(&key).send().await;
                let count =
                    if answer.is_ok_and(|answer| answer.status().is_success()) { &well } else { &ill };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { stop, good, bad, task }
    }

    async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
        (self.good.load(Ordering::Relaxed), self.bad.load(Ordering::Relaxed))
    }
}
