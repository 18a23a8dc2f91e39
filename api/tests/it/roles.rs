//! The PostgreSQL roles: statements beyond their rights are rejected, every table has its grants, and the
//! script creates the roles without a superuser. All other tests run with these roles, and so prove that the
//! rights suffice.

use contract::ids::PipelineId;
use local::{RoleUrls, TestDatabase};
use sqlx::{AssertSqlSafe, PgPool};
use url::Url;
use uuid::Uuid;

use crate::app::{SPACE, TestApi};
use crate::command_line::{command, run};
use crate::seed::EDITOR;

/// Statements that neither role may execute, and the object that the error must name: an error about another
/// object would hide an excessive right.
const FORBIDDEN: [(&str, &str); 15] = [
    ("truncate runs", "table runs"),
    ("drop table runs", "owner of table runs"),
    ("alter table runs add column x int", "owner of table runs"),
    ("alter table api_keys disable trigger all", "owner of table api_keys"),
    ("create table mine ()", "schema public"),
    ("create schema mine", "database"),
    ("create function mine() returns int language sql as 'select 1'", "schema public"),
    ("create index on runs (note)", "owner of table runs"),
    ("create temporary table mine ()", "temporary tables"),
    ("update audit set details = '{}'", "table audit"),
    ("delete from sync_queue", "table sync_queue"),
    ("update sync_queue set status = 'queued'", "table sync_queue"),
    ("update users set email = 'mine@x.org'", "table users"),
    ("select setval('observation_version', 1)", "sequence observation_version"),
    ("set role orchestration_test_owner", "set role"),
];

const FORBIDDEN_TO_THE_API: [(&str, &str); 28] = [
    ("delete from notification_deliveries", "table notification_deliveries"),
    ("insert into delivery_attempts select", "table delivery_attempts"),
    ("update inbox set summary = ''", "table inbox"),
    ("delete from runs", "table runs"),
    ("delete from audit", "table audit"),
    ("delete from syncs", "table syncs"),
    ("insert into runs (id) values (gen_random_uuid())", "table runs"),
    ("update runs set status = 'success'", "table runs"),
    ("insert into pipelines (id) values (gen_random_uuid())", "table pipelines"),
    ("update pipelines set name = 'mine'", "table pipelines"),
    ("delete from pipelines", "table pipelines"),
    ("insert into task_runs (id) values (gen_random_uuid())", "table task_runs"),
    ("update task_runs set status = 'success'", "table task_runs"),
    ("delete from task_runs", "table task_runs"),
    ("insert into pipeline_metrics (pipeline_id) values (gen_random_uuid())", "table pipeline_metrics"),
    ("update pipeline_metrics set revision = 0", "table pipeline_metrics"),
    ("update run_counts set n = 0", "table run_counts"),
    ("delete from run_counts", "table run_counts"),
    ("select count_all_runs()", "table pipeline_metrics"),
    ("update sessions set expires_at = now()", "table sessions"),
    ("update api_keys set secret_sha256 = ''", "table api_keys"),
    ("update api_keys set read_only = false", "table api_keys"),
    ("delete from api_keys", "table api_keys"),
    ("update spaces set slug = 'mine'", "table spaces"),
    ("select payload from outbox", "table outbox"),
    ("delete from outbox", "table outbox"),
    ("update projection_offsets set next_offset = 0", "table projection_offsets"),
    ("select payload from dead_letters", "table dead_letters"),
];

const FORBIDDEN_TO_THE_WORKER: [(&str, &str); 22] = [
    ("update notification_channels set secrets_sealed = null", "table notification_channels"),
    ("update notification_rules set is_active = false", "table notification_rules"),
    ("select id from api_keys", "table api_keys"),
    ("select role from memberships", "table memberships"),
    ("select name from teams", "table teams"),
    ("update memberships set role = 'admin'", "table memberships"),
    ("select user_id from sessions", "table sessions"),
    (
        "insert into api_keys (id, user_id, label, prefix, secret_sha256) values (gen_random_uuid(),
            gen_random_uuid(), '', '', '')",
        "table api_keys",
    ),
    ("select email from users", "table users"),
    ("select * from users", "table users"),
    ("select name from spaces", "table spaces"),
    ("select updated_at from pipeline_governance", "table pipeline_governance"),
    ("update pipeline_governance set team_id = null", "table pipeline_governance"),
    ("select created_at from pipeline_watches", "table pipeline_watches"),
    ("select content from comments", "table comments"),
    ("delete from comments", "table comments"),
    ("select details from audit", "table audit"),
    ("update connectors set credentials_sealed = null", "table connectors"),
    ("insert into connectors (id) values (gen_random_uuid())", "table connectors"),
    ("update triggers set answer_status = 201", "table triggers"),
    ("delete from pipelines", "table pipelines"),
    (
        "select record_triggered_run(gen_random_uuid(), gen_random_uuid(), '', '{}')",
        "function record_triggered_run",
    ),
];

async fn assert_rejected(db: &PgPool, statements: &[(&str, &str)]) {
    for (statement, object) in statements {
        let result = sqlx::raw_sql(AssertSqlSafe((*statement).to_owned())).execute(db).await;
        let error = result.expect_err(statement);
        assert!(platform::db::is_denied(&error), "{statement}: {error}");
        let message = error.as_database_error().unwrap().message().to_owned();
        assert!(message.contains(object), "{statement}: {message}");
    }
}

#[tokio::test]
async fn statements_beyond_the_rights_of_a_role_are_rejected() {
    let database = local::test_database().await.unwrap();
    let api = local::test_pool(&database.api_url).unwrap();
    let worker = local::test_pool(&database.worker_url).unwrap();
    assert_rejected(&api, &FORBIDDEN).await;
    assert_rejected(&api, &FORBIDDEN_TO_THE_API).await;
    assert_rejected(&worker, &FORBIDDEN).await;
    assert_rejected(&worker, &FORBIDDEN_TO_THE_WORKER).await;
}

/// Tables without grants, and functions that run with their owner's rights but are open to all roles.
async fn ungoverned(db: &PgPool) -> Vec<String> {
    let grants = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/grants.sql");
    let grants = std::fs::read_to_string(grants).unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace
         and relkind in ('r', 'p', 'v', 'm', 'f') and not relispartition",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let open_functions: Vec<String> = sqlx::query_scalar(
        "select oid::regprocedure::text from pg_proc
         where pronamespace = 'public'::regnamespace and prosecdef
           and (has_function_privilege('public', oid, 'execute')
                or not coalesce(proconfig::text like '%search_path=pg_catalog%', false))",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut ungoverned: Vec<_> = tables
        .into_iter()
        .filter(|table| !grants.contains(&format!("('{table}',")))
        .chain(open_functions)
        .collect();
    ungoverned.sort();
    ungoverned
}

#[tokio::test]
async fn every_table_has_grants() {
    let database = local::test_database().await.unwrap();
    assert_eq!(
        ungoverned(&database.pool).await,
        [""; 0],
        "decide in migrations/grants.sql who may do what with it"
    );
    sqlx::raw_sql(
        "create table fresh ();
         create function loose() returns int language sql security definer as 'select 1'",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    assert_eq!(ungoverned(&database.pool).await, ["fresh", "loose()"]);
}

fn role(url: &str) -> String {
    Url::parse(url).unwrap().username().to_owned()
}

async fn migrate(database: &TestDatabase, worker: &str, api: &str) -> String {
    let mut migrate = command(&database.url, &["migrate"]);
    migrate.env("ORCHESTRATION_WORKER_ROLE", worker).env("ORCHESTRATION_API_ROLE", api);
    let output = run(migrate).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn every_migration_restores_the_rights() {
    let database = local::test_database().await.unwrap();
    let (worker, api) = (role(&database.worker_url), role(&database.api_url));
    let grant = format!("grant delete on dead_letters to {api}; revoke select on spaces from {api}");
    sqlx::raw_sql(AssertSqlSafe(grant)).execute(&database.pool).await.unwrap();
    let as_api = local::test_pool(&database.api_url).unwrap();
    sqlx::query("delete from dead_letters").execute(&as_api).await.expect("the right was granted");
    assert_eq!(migrate(&database, "nobody_1", "nobody_2").await, "The schema is up to date.\n");
    sqlx::query("delete from dead_letters").execute(&as_api).await.expect("no roles were given");
    let output = migrate(&database, &worker, &api).await;
    assert_eq!(output, format!("The schema is up to date, and open to {api} and {worker}.\n"));
    assert_rejected(&as_api, &[("delete from dead_letters", "table dead_letters")]).await;
    sqlx::query("select from spaces").execute(&as_api).await.unwrap();
}

#[tokio::test]
async fn the_command_line_requires_the_owner() {
    let test = TestApi::new().await;
    let output = run(command(&test.database.api_url, &["space", "create", "new", "--name", "New"])).await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("set DATABASE_URL to the owner's"), "{error}");
}

async fn insert_trigger(test: &TestApi, pipeline: PipelineId, run_id: Uuid, external_id: &str) -> Uuid {
    sqlx::query_scalar::<_, Uuid>(
        "insert into triggers (id, space_id, connector_id, pipeline_id, user_id, run_external_id, run_id,
             command_sha256, attempt_until)
         select gen_random_uuid(), p.space_id, p.connector_id, p.id, u.id, $3, $2, '',
         now() from pipelines p, users u
         where p.id = $1 and u.name = 'Edith' returning id",
    )
    .bind(pipeline)
    .bind(run_id)
    .bind(external_id)
    .fetch_one(&test.app.db)
    .await
    .unwrap()
}

/// The only function by which the API's role writes to the read model records nothing but the run of its own
/// trigger.
#[tokio::test]
async fn a_run_is_recorded_only_for_its_pending_trigger() {
    let test = TestApi::new().await;
    let pipeline = test.pipeline("p").await;
    let victim = test.run(pipeline, "scheduled", "failed", crate::seed::hours_ago(1)).await;
    let space = test.id(&format!("select id from spaces where slug = '{SPACE}'")).await;
    let other = test.id("select id from spaces where slug = 'other'").await;
    let record = async |space: Uuid, trigger: Uuid, version: i64| {
        let observed = serde_json::json!({
            "version": version, "observed_at": "2026-01-01T00:00:00Z", "status": "success",
            "run_type": "manual", "conf": {},
        });
        sqlx::query("select record_triggered_run($1, $2, '', $3)")
            .bind(space)
            .bind(trigger)
            .bind(observed)
            .execute(&test.app.db)
            .await
    };
    let version = test.number("select nextval('observation_version')").await;
    let pending = insert_trigger(&test, pipeline, Uuid::now_v7(), "mine").await;
    assert!(record(space, Uuid::now_v7(), version).await.is_err(), "an unknown trigger");
    assert!(record(other, pending, version).await.is_err(), "a trigger of another space");
    assert!(record(space, pending, i64::MAX).await.is_err(), "a version above the sequence");
    record(space, pending, version).await.expect("a pending trigger");
    let forged = insert_trigger(&test, pipeline, victim.0, "forged").await;
    assert!(record(space, forged, version).await.is_err(), "another run with the same id");
    test.sql(&format!("update triggers set answer_status = 201, answer = '{{}}' where id = '{pending}'"))
        .await;
    let later = test.number("select nextval('observation_version')").await;
    assert!(record(space, pending, later).await.is_err(), "a finished trigger");
    let recorded: Vec<String> = sqlx::query_scalar(
        "select external_id || ' ' || status || ' ' || triggered_by_name
         from runs where triggered_by_name is not null",
    )
    .fetch_all(&test.db)
    .await
    .unwrap();
    assert_eq!(recorded, ["mine success Edith"]);
    assert_eq!(test.number("select count(*) from runs where status = 'failed'").await, 1);
    let path = format!("/spaces/{SPACE}/orchestration/runs");
    test.send(axum::http::Method::GET, EDITOR, &path, None).await.expect(200);
}

async fn execute(url: &str, statement: String) {
    let pool = local::test_pool(url).unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    pool.close().await;
}

#[expect(clippy::too_many_lines, reason = "the steps of one script")]
#[tokio::test]
async fn the_script_needs_no_superuser_and_is_idempotent() {
    let server = local::postgres().await.unwrap();
    let name = format!("orch_{}", Uuid::new_v4().simple());
    execute(&server, format!("create role {name} login createrole createdb password 'it''s me'")).await;
    let mut admin = Url::parse(&server).unwrap();
    admin.set_username(&name).unwrap();
    admin.set_password(Some("it's me")).unwrap();
    execute(admin.as_str(), format!("create database {name}")).await;
    admin.set_path(&name);
    let roles = RoleUrls::of(admin.as_str(), &name).unwrap();
    roles.create(admin.as_str()).await.unwrap();
    let mut migrate = command(&roles.owner, &["migrate"]);
    migrate
        .env("ORCHESTRATION_WORKER_ROLE", role(&roles.worker))
        .env("ORCHESTRATION_API_ROLE", role(&roles.api));
    let output = run(migrate).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    roles.create(admin.as_str()).await.unwrap();
    let created = run(command(&roles.owner, &["space", "create", "s", "--name", "S"])).await;
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let api = local::test_pool(&roles.api).unwrap();
    let names: Vec<String> = sqlx::query_scalar("select name from spaces").fetch_all(&api).await.unwrap();
    assert_eq!(names, ["S"]);
    let worker = local::test_pool(&roles.worker).unwrap();
    sqlx::query("select id from connectors").execute(&worker).await.unwrap();
    assert_rejected(&worker, &[("select id from api_keys", "table api_keys")]).await;
    // A second role that replaces the API's while its password is rotated.
    execute(admin.as_str(), format!("create role {name}_api_2 login in role {name}_api password 'second'"))
        .await;
    let mut second_role = Url::parse(&roles.api).unwrap();
    second_role.set_username(&format!("{name}_api_2")).unwrap();
    second_role.set_password(Some("second")).unwrap();
    execute(second_role.as_str(), "select name from spaces".to_owned()).await;
    // A role that is a member of the owner is rejected.
    execute(admin.as_str(), format!("grant {name}_owner to {name}_api")).await;
    let unsafe_role = roles.create(admin.as_str()).await.unwrap_err();
    assert!(
        format!("{unsafe_role:#}").contains(&format!("{name}_api may do more than it must")),
        "{unsafe_role:#}"
    );
    api.close().await;
    worker.close().await;
    execute(&server, format!("drop database {name} with (force)")).await;
    execute(&server, format!("drop role {name}_owner, {name}_worker, {name}_api, {name}_api_2")).await;
    execute(&server, format!("drop role {name}")).await;
}
