//! A small world to ask about: a database of its own, two spaces with their people, a connector, and the router.

use std::sync::LazyLock;
use std::task::Poll;
use std::time::Duration;

use api::auth::access_cache::AccessMemory;
use api::auth::rate_limit::Limiter;
use api::routes;
use api::state::{App, Parts};
use api::stream::{Live, LiveConfig};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::response::Response;
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, PipelineId, RunId, TaskRunId};
use local::TestDatabase;
use metrics_exporter_prometheus::PrometheusBuilder;
use platform::kafka::{KafkaConfig, KafkaOptions, KafkaProbe};
use platform::secrets::{Keyring, SealingConfig};
use provider::NetworkPolicy;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;
use uuid::Uuid;

use crate::conformance;

pub const ADMIN: &str = "qk_ada";
pub const EDITOR: &str = "qk_edith";
pub const VIEWER: &str = "qk_victor";
/// Another editor of the same space.
pub const OTHER_EDITOR: &str = "qk_emil";
/// An admin of the other space alone.
pub const STRANGER: &str = "qk_olga";
pub const REVOKED: &str = "qk_revoked";

/// The space that everything happens in.
pub const SPACE: &str = "finance";
pub const OTHER_SPACE: &str = "other";

pub struct World {
    /// The owner's, who sets up and looks on; the service has the API's role.
    pub db: PgPool,
    pub database: TestDatabase,
    pub app: App,
    router: Router,
    pub connector: ConnectorId,
    pub other_connector: ConnectorId,
    pub team: Uuid,
    pub other_team: Uuid,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The places and kinds of the faults of a 422.
    pub fn faults(&self) -> Vec<(String, String)> {
        let place = |fault: &Value| {
            let parts: Vec<_> =
                fault["loc"].as_array().unwrap().iter().map(|part| part.as_str().unwrap()).collect();
            parts.join(".")
        };
        let faults = self.body["detail"].as_array().expect("a list of faults");
        faults.iter().map(|fault| (place(fault), fault["type"].as_str().unwrap().to_owned())).collect()
    }
}

/// How a world's service is set up.
pub struct Setup {
    pub limits: (u32, u32),
    pub time_out: Duration,
    pub allow_private_networks: bool,
    pub origins: Vec<&'static str>,
    /// Where nothing answers, if nothing else is said.
    pub kafka: KafkaConfig,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: (0, 0),
            time_out: Duration::from_secs(30),
            allow_private_networks: true,
            origins: vec![],
            kafka: kafka("127.0.0.1:9", ""),
        }
    }
}

/// A sealing key for each letter: 32 times the letter, as a setting has it.
pub fn sealing_keys(letters: &str) -> String {
    let keys: Vec<_> = letters.bytes().map(|letter| STANDARD.encode([letter; 32])).collect();
    keys.join(",")
}

pub fn keyring(letters: &str) -> Keyring {
    Keyring::new(&SealingConfig { sealing_keys: sealing_keys(letters).into() }).unwrap()
}

/// Kafka there, with this before its topics' names. Nobody answers on port 9.
pub fn kafka(servers: &str, prefix: &str) -> KafkaConfig {
    KafkaConfig {
        kafka_bootstrap_servers: servers.to_owned(),
        kafka_prefix: prefix.to_owned(),
        kafka_partitions: 2,
        kafka_replication: 1,
        kafka_options: KafkaOptions::default(),
    }
}

fn service(database: &TestDatabase, keyring: Keyring, setup: Setup) -> App {
    App::new(Parts {
        db: local::test_pool(&database.api_url).unwrap(),
        kafka: KafkaProbe::new(&setup.kafka).unwrap(),
        access: AccessMemory::default(),
        keyring,
        network: NetworkPolicy { allow_private_networks: setup.allow_private_networks },
        limiter: Limiter::new(setup.limits.0, setup.limits.1),
        live: Live::new(
            setup.kafka,
            LiveConfig { streams: 10, streams_per_key: 10, stream_history: 1_000, stream_heartbeat: 1 },
        ),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        time_out: setup.time_out,
        origins: setup.origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        body_limit: 100_000,
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
    })
}

impl World {
    pub async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub async fn with(setup: Setup) -> Self {
        let database = local::test_database().await.expect("a database");
        let app = service(&database, keyring("a"), setup);
        let mut world = Self {
            db: database.pool.clone(),
            database,
            router: routes::router(app.clone()),
            app,
            connector: ConnectorId(Uuid::nil()),
            other_connector: ConnectorId(Uuid::nil()),
            team: Uuid::nil(),
            other_team: Uuid::nil(),
        };
        world.populate().await;
        world
    }

    /// The same service once more, as another process would be, with sealing keys of its own.
    pub fn replica(&self, keyring: Keyring) -> Self {
        let app = service(&self.database, keyring, Setup::default());
        Self {
            db: self.db.clone(),
            database: self.database.clone(),
            router: routes::router(app.clone()),
            app,
            ..*self
        }
    }

    async fn populate(&mut self) {
        for slug in [SPACE, OTHER_SPACE] {
            sqlx::query("insert into spaces (id, slug, name) values ($1, $2, initcap($2))")
                .bind(Uuid::now_v7())
                .bind(slug)
                .execute(&self.db)
                .await
                .unwrap();
        }
        for (name, key, role, space) in [
            ("Ada", ADMIN, "admin", SPACE),
            ("Edith", EDITOR, "editor", SPACE),
            ("Emil", OTHER_EDITOR, "editor", SPACE),
            ("Victor", VIEWER, "viewer", SPACE),
            ("Rex", REVOKED, "admin", SPACE),
            ("Olga", STRANGER, "admin", OTHER_SPACE),
        ] {
            self.person(name, key, role, space).await;
        }
        self.sql("update api_keys set revoked_at = now() where prefix = 'qk_revoked'").await;
        self.team = self.id("insert into teams (id, space_id, name) select gen_random_uuid(), id, 'Finance data' from spaces where slug = 'finance' returning id").await;
        self.other_team = self.id("insert into teams (id, space_id, name) select gen_random_uuid(), id, 'Others' from spaces where slug = 'other' returning id").await;
        self.connector = ConnectorId(self.make_connector(SPACE, "prod airflow").await);
        self.other_connector = ConnectorId(self.make_connector(OTHER_SPACE, "other airflow").await);
    }

    async fn person(&self, name: &str, key: &str, role: &str, space: &str) {
        let user = Uuid::now_v7();
        let digest: [u8; 32] = Sha256::digest(key).into();
        sqlx::query("insert into users (id, email, name) values ($1, lower($2) || '@x.org', $2)")
            .bind(user)
            .bind(name)
            .execute(&self.db)
            .await
            .unwrap();
        sqlx::query(
            "insert into api_keys (id, user_id, label, prefix, secret_sha256) values ($1, $2, '', $3, $4)",
        )
        .bind(Uuid::now_v7())
        .bind(user)
        .bind(key)
        .bind(digest)
        .execute(&self.db)
        .await
        .unwrap();
        sqlx::query(
            "insert into memberships (space_id, user_id, role) select id, $1, $2 from spaces where slug = $3",
        )
        .bind(user)
        .bind(role)
        .bind(space)
        .execute(&self.db)
        .await
        .unwrap();
    }

    async fn make_connector(&self, space: &str, name: &str) -> Uuid {
        let id = Uuid::now_v7();
        sqlx::query(
            r#"insert into connectors (id, space_id, name, connector_type, config, credentials_public)
               select $1, id, $2, 'airflow', '{"base_url": "http://127.0.0.1:9"}', '{"auth_type": "none"}'
               from spaces where slug = $3"#,
        )
        .bind(id)
        .bind(name)
        .bind(space)
        .execute(&self.db)
        .await
        .unwrap();
        sqlx::query("insert into connector_state (connector_id) values ($1)")
            .bind(id)
            .execute(&self.db)
            .await
            .unwrap();
        id
    }

    pub async fn sql(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&self.db).await.unwrap();
    }

    pub async fn id(&self, statement: &str) -> Uuid {
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&self.db).await.unwrap()
    }

    pub async fn number(&self, statement: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(statement.to_owned())).fetch_one(&self.db).await.unwrap()
    }

    /// Waits until a query answers true.
    pub async fn until(&self, what: &str) {
        let wait = async {
            loop {
                let asked = sqlx::query_scalar(AssertSqlSafe(what.to_owned()));
                match asked.fetch_one(&self.db).await.unwrap() {
                    Some(true) => break,
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), wait)
            .await
            .unwrap_or_else(|_| panic!("never true: {what}"));
    }

    /// A pipeline of the space, as a sync would leave it.
    pub async fn pipeline(&self, name: &str) -> PipelineId {
        self.pipeline_of(self.connector, name).await
    }

    pub async fn pipeline_of(&self, connector: ConnectorId, name: &str) -> PipelineId {
        let id = PipelineId::of(connector, name);
        sqlx::query(
            r#"insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
                   observed_at, first_seen_at, name, owners, owner, tags, is_paused, is_active, provider_metadata, tasks)
               select $1, space_id, id, 'airflow', $3, 1, '', 0, '2026-01-01Z', '2025-12-01Z', $3, '{data-eng}',
                   'data-eng', '{}', false, true, '{"kept": true}', '[]'
               from connectors where id = $2"#,
        )
        .bind(id)
        .bind(connector)
        .bind(name)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    /// A run that began at this time, and ended ten seconds later if its status says so.
    pub async fn run(&self, pipeline: PipelineId, name: &str, status: &str, started: DateTime<Utc>) -> RunId {
        let connector: Uuid =
            self.id(&format!("select connector_id from pipelines where id = '{pipeline}'")).await;
        let external: String = sqlx::query_scalar("select external_id from pipelines where id = $1")
            .bind(pipeline)
            .fetch_one(&self.db)
            .await
            .unwrap();
        let id = RunId::of(ConnectorId(connector), &external, name);
        sqlx::query(
            "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version, fingerprint,
                 log_offset, observed_at, status, provider_status, run_type, run_after, queued_at, started_at, ended_at,
                 duration_seconds, conf)
             select $1, space_id, connector_id, id, 'airflow', $3, 1, '', 0, $5, $4, $4, 'manual', $5, $5,
                 case when $4 <> 'queued' then $5 end, case when $4 in ('success', 'failed') then $5 + interval '10 s' end,
                 case when $4 in ('success', 'failed') then 10 end, '{}'
             from pipelines where id = $2",
        )
        .bind(id)
        .bind(pipeline)
        .bind(name)
        .bind(status)
        .bind(started)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    pub async fn task_run(&self, run: RunId, task: &str, map_index: i32, status: &str) -> TaskRunId {
        let id = TaskRunId(Uuid::new_v5(&run.0, format!("{task}/{map_index}").as_bytes()));
        sqlx::query(
            "insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id, version,
                 fingerprint, log_offset, observed_at, task_id, map_index, name, status, provider_status, try_number,
                 max_tries)
             select $1, space_id, connector_id, pipeline_id, id, 'airflow', $3, 1, '', 0, observed_at, $3, $4, $3, $5, $5,
                 1, 0
             from runs where id = $2",
        )
        .bind(id)
        .bind(run)
        .bind(task)
        .bind(map_index)
        .bind(status)
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    /// An answer that was not read yet.
    pub async fn respond(&self, request: Request<Body>) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// A request as it is, to the whole service. The answer is held against the document.
    pub async fn raw(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let response = self.respond(request).await;
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => {
                serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into())
            }
        };
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        conformance::check(&method, &path, &answer);
        answer
    }

    /// Begins a request and drops it after so many looks at it, as is done when the connection breaks. True when it
    /// was through before that.
    pub async fn abandon(&self, request: Request<Body>, mut looks: usize) -> bool {
        let mut call = std::pin::pin!(self.router.clone().oneshot(request));
        std::future::poll_fn(|context| match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if looks == 0 => Poll::Ready(false),
            Poll::Pending => {
                looks -= 1;
                Poll::Pending
            }
        })
        .await
    }

    pub async fn send(&self, method: Method, key: &str, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", routes::BASE))
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.raw(request.body(body).unwrap()).await
    }

    /// Reads as the viewer.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, VIEWER, path, None).await
    }

    /// Reads below the space's orchestration, successfully.
    pub async fn read(&self, path: &str) -> Value {
        self.get(&format!("/spaces/{SPACE}/orchestration{path}")).await.expect(200)
    }

    /// Asks below the space's orchestration.
    pub async fn ask(&self, method: Method, key: &str, path: &str, body: Value) -> Answer {
        let body = (!body.is_null()).then_some(body);
        self.send(method, key, &format!("/spaces/{SPACE}/orchestration{path}"), body).await
    }
}

/// One field of each thing of a list.
pub fn each<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|thing| thing[field].as_str().unwrap()).collect()
}

/// So many hours ago, to the second.
pub fn hours_ago(hours: i64) -> DateTime<Utc> {
    // One now for all calls: a second that passes between two must not set them apart.
    static NOW: LazyLock<DateTime<Utc>> =
        LazyLock::new(|| DateTime::from_timestamp(Utc::now().timestamp(), 0).unwrap());
    *NOW - chrono::TimeDelta::hours(hours)
}

/// Two JSON values with the same names, and values of the same types. Only what is null in the example may be anything.
pub fn assert_same_shape(found: &Value, example: &Value, place: &str) {
    match (found, example) {
        (Value::Object(found), Value::Object(example)) => {
            for (name, value) in example {
                let there = found.get(name).unwrap_or_else(|| panic!("{place}.{name} is missing"));
                assert_same_shape(there, value, &format!("{place}.{name}"));
            }
        }
        (Value::Array(found), Value::Array(example)) => {
            assert!(!found.is_empty() || example.is_empty(), "{place} is empty and was not compared");
            for (found, example) in found.iter().zip(example) {
                assert_same_shape(found, example, &format!("{place}[]"));
            }
        }
        (_, Value::Null) => {}
        (found, example) => assert_eq!(
            std::mem::discriminant(found),
            std::mem::discriminant(example),
            "{place} is {found} and not like {example}"
        ),
    }
}

pub fn comment(content: &str) -> Value {
    json!({ "content": content })
}
