//! Upgrades of a database with the schema and data of the last release: the statements of that release
//! neither fail nor wait for long while later migrations are applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use local::TestDatabase;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{MIGRATIONS, released};
use crate::sync_queue::assert_queue_is_complete;

const STATEMENTS: &str = include_str!("released.sql");
/// The statement timeout of the product, which includes waiting for locks.
const STATEMENT_TIMEOUT: &str = "30s";
const CONNECTIONS: usize = 3;
/// After this many rounds, each connection has executed each statement.
const ROUNDS: u64 = 3 * CONNECTIONS as u64;

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_previous_version_succeed_during_an_upgrade() {
    let (url, pool) = released_database().await;
    let load = StatementLoad::start(&url);
    load.wait_for_rounds(ROUNDS).await;
    platform::db::migrate(&pool).await.unwrap();
    load.wait_for_rounds(ROUNDS).await;
    assert_eq!(load.stop().await, Vec::<String>::new());
    let applied: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(applied, MIGRATIONS.iter().count() as i64);
    let open = assert_queue_is_complete(&pool).await;
    assert!(open >= 2, "two syncs were queued before the upgrade, and are not accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_column_fails_statements_of_the_previous_version() {
    let (url, pool) = released_database().await;
    let load = StatementLoad::start(&url);
    load.wait_for_rounds(1).await;
    apply(&pool, "alter table runs rename column note to remark").await.unwrap();
    load.wait_for_rounds(1).await;
    let failures = load.stop().await;
    assert!(failures.iter().any(|failure| failure.contains("page of runs: ")), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_times_out_on_a_lock_is_retried() {
    let database = local::test_database().await.unwrap();
    let mut reader = database.pool.begin().await.unwrap();
    sqlx::query("select count(*) from runs").execute(&mut *reader).await.unwrap();
    let pool = database.pool.clone();
    let migrating = tokio::spawn(async move { apply(&pool, "alter table runs add column extra int").await });
    // The migration waits for this reader. A later reader waits only until the migration's lock times out.
    wait_until_blocked(&database.pool).await;
    let read = sqlx::query("select count(*) from runs").execute(&database.pool);
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
    assert!(!migrating.is_finished());
    reader.commit().await.unwrap();
    migrating.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_index_is_recreated() {
    let database = local::test_database().await.unwrap();
    let sql = "-- no-transaction\ncreate index concurrently if not exists numbers_x on numbers (column1)";
    sqlx::query("create table numbers as values (1), (1)").execute(&database.pool).await.unwrap();
    let duplicates = "create unique index concurrently numbers_x on numbers (column1)";
    assert!(sqlx::query(duplicates).execute(&database.pool).await.is_err(), "the values are not unique");
    apply(&database.pool, sql).await.unwrap();
    let is_valid = "select indisvalid from pg_index where indexrelid = 'numbers_x'::regclass";
    assert!(sqlx::query_scalar::<_, bool>(is_valid).fetch_one(&database.pool).await.unwrap());
}

/// Applies a migration with a version above all others.
async fn apply(pool: &PgPool, sql: &'static str) -> Result<(), sqlx::migrate::MigrateError> {
    let no_transaction = sql.starts_with("-- no-transaction");
    let migration = Migration::new(
        9_999,
        "test".into(),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(sql),
        no_transaction,
    );
    let mut migrations = Migrator::with_migrations(vec![migration]);
    migrations.set_ignore_missing(true);
    platform::db::apply_migrations(&migrations, pool).await
}

async fn wait_until_blocked(pool: &PgPool) {
    let is_blocked = "select exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and query like 'alter table runs%')";
    while !sqlx::query_scalar::<_, bool>(is_blocked).fetch_one(pool).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Creates a database with the schema of the last release and ten thousand runs.
async fn released_database() -> (String, PgPool) {
    let TestDatabase { url, pool, .. } = local::test_database().await.unwrap();
    sqlx::raw_sql(DROP_ALL).execute(&pool).await.unwrap();
    // Prepared statements of open connections refer to the dropped tables.
    pool.close().await;
    let pool = PgPool::connect(&url).await.unwrap();
    MIGRATIONS.run_to(released(), &pool).await.unwrap();
    sqlx::raw_sql(DATA).execute(&pool).await.unwrap();
    (url, pool)
}

/// Drops every object that migrations have created.
const DROP_ALL: &str = "
    do $$ declare object record;
    begin
        for object in select 'table' as kind, format('public.%I', relname) as name from pg_class
                    where relnamespace = 'public'::regnamespace and relkind = 'r'
                    union all select 'sequence', format('public.%I', relname) from pg_class
                    where relnamespace = 'public'::regnamespace and relkind = 'S'
                    union all select 'function',
                        format('public.%I(%s)', proname, pg_get_function_identity_arguments(oid))
                    from pg_proc
                    where pronamespace = 'public'::regnamespace
        loop
            execute format('drop %s if exists %s cascade', object.kind, object.name);
        end loop;
    end $$";

const DATA: &str = "
    insert into spaces (id, slug, name) values (md5('space')::uuid, 'space', 'Space');
    insert into users (id, email, name) values (md5('user')::uuid, 'ada@example.org', 'Ada');
    insert into memberships (space_id, user_id, role)
        values (md5('space')::uuid, md5('user')::uuid, 'editor');
    insert into api_keys (id, user_id, label, prefix, secret_sha256)
        values (md5('key')::uuid, md5('user')::uuid, '', '', '\\x00');
    insert into connectors (id, space_id, name, connector_type, config, credentials_public)
        values (md5('connector')::uuid, md5('space')::uuid, 'airflow', 'airflow', '{}', '{}');
    insert into connector_state (connector_id) values (md5('connector')::uuid);
    insert into projection_offsets (topic, partition, next_offset) values ('runs', 0, 0);
    insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
        log_offset, observed_at, first_seen_at, name, owners, tags, is_paused, is_active,
        provider_metadata, tasks)
    select md5('pipeline' || n)::uuid, md5('space')::uuid, md5('connector')::uuid, 'airflow', 'p' || n, 1,
        '', 1, now(), now(), 'p' || n, '{}', '{}', false, true, '{}', '[]' from generate_series(0, 19) n;
    insert into syncs (id, space_id, connector_id, status, trigger, requested_at)
    select gen_random_uuid(), md5('space')::uuid, md5('connector')::uuid, status, 'manual', now()
    from unnest(array['queued', 'queued', 'succeeded', 'failed']) status;
    insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version, fingerprint,
        log_offset, observed_at, status, run_type, run_after, started_at, ended_at, duration_seconds, conf)
    select md5('run' || n)::uuid, md5('space')::uuid, md5('connector')::uuid,
        md5('pipeline' || n % 20)::uuid, 'airflow', 'r' || n, 0, '', 1, at, 'success', 'scheduled',
        at, at, at, 1, '{}'
    from generate_series(0, 9999) n, lateral (select now() - n * interval '1 hour' as at) x;
    insert into task_runs (id, space_id, connector_id, pipeline_id, run_id, provider, external_id, version,
        fingerprint, log_offset, observed_at, task_id, map_index, name, status, try_number, max_tries)
    select md5('task' || t || '/' || n)::uuid, md5('space')::uuid, md5('connector')::uuid,
        md5('pipeline' || n % 20)::uuid, md5('run' || n)::uuid, 'airflow', 't' || n, 0, '', 1, now(),
        'task_' || t, -1, 'task_' || t, 'success', 1, 0
    from generate_series(0, 9999) n, generate_series(1, 3) t;
    analyze";

/// Connections that execute all statements repeatedly.
struct StatementLoad {
    rounds: Arc<AtomicU64>,
    failures: JoinSet<Vec<String>>,
    stop: CancellationToken,
}

impl StatementLoad {
    fn start(url: &str) -> Self {
        let (rounds, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let mut failures = JoinSet::new();
        for _ in 0..CONNECTIONS {
            failures.spawn(execute(url.to_owned(), rounds.clone(), stop.clone()));
        }
        Self { rounds, failures, stop }
    }

    /// Waits until all statements have been executed `count` more times.
    async fn wait_for_rounds(&self, count: u64) {
        let target = self.rounds.load(Ordering::SeqCst) + count;
        while self.rounds.load(Ordering::SeqCst) < target {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops the load and returns the failures.
    async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        self.failures.join_all().await.concat()
    }
}

async fn execute(url: String, rounds: Arc<AtomicU64>, stop: CancellationToken) -> Vec<String> {
    let options: PgConnectOptions = url.parse().unwrap();
    let mut db = PgConnection::connect_with(&options.options([("statement_timeout", STATEMENT_TIMEOUT)]))
        .await
        .unwrap();
    let mut failures = Vec::new();
    while !stop.is_cancelled() {
        for (name, statement) in statements() {
            let outcome = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut db).await;
            match outcome {
                Err(error) if !is_deadlock(&error) && failures.len() < 100 => {
                    failures.push(format!("{name}: {error}"));
                }
                _ => {}
            }
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    failures
}

/// Whether the statement lost a deadlock with another one. Every version retries these.
fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40P01")
}

/// Returns the statements of the release with their names.
fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    let blocks = STATEMENTS.split("\n-- ").skip(2);
    blocks.filter_map(|block| block.trim_end().trim_end_matches(';').split_once('\n'))
}
