//! The schema of the last release, with data, under the statements of that release: while the migrations
//! after it are applied, none of them fails and none waits for long.

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

const STATEMENTS: &str = include_str!("released.sql");
/// How long the product itself lets a statement take, waiting for others included.
const BOUND: &str = "30s";
const CONNECTIONS: usize = 3;
/// Often enough for each connection to have executed each statement.
const ROUNDS: u64 = 3 * CONNECTIONS as u64;

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_under_load_fails_nothing_of_the_version_before() {
    let (url, pool) = released_database().await;
    let load = StatementLoad::start(&url);
    load.rounds(ROUNDS).await;
    platform::db::migrate(&pool).await.unwrap();
    load.rounds(ROUNDS).await;
    assert_eq!(load.stop().await, Vec::<String>::new());
    let applied: i64 = sqlx::query_scalar("select count(*) from _sqlx_migrations where success")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(applied, MIGRATIONS.iter().count() as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_takes_something_away_is_found() {
    let (url, pool) = released_database().await;
    let load = StatementLoad::start(&url);
    load.rounds(1).await;
    apply(&pool, "alter table runs rename column note to remark").await.unwrap();
    load.rounds(1).await;
    let failures = load.stop().await;
    assert!(failures.iter().any(|failure| failure.contains("a page of runs: ")), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_steps_back_from_a_lock_and_comes_again() {
    let database = local::test_database().await.unwrap();
    let mut long = database.pool.begin().await.unwrap();
    sqlx::query("select count(*) from runs").execute(&mut *long).await.unwrap();
    let pool = database.pool.clone();
    let migrating = tokio::spawn(async move { apply(&pool, "alter table runs add column extra int").await });
    // The migration waits for this reader, and another reader is not kept waiting behind it for ever.
    until_waiting(&database.pool).await;
    let read = sqlx::query("select count(*) from runs").execute(&database.pool);
    tokio::time::timeout(Duration::from_secs(60), read).await.unwrap().unwrap();
    assert!(!migrating.is_finished());
    long.commit().await.unwrap();
    migrating.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_index_is_made_whole() {
    let database = local::test_database().await.unwrap();
    let sql = "-- no-transaction\ncreate index concurrently if not exists half on numbers (column1)";
    sqlx::query("create table numbers as values (1), (1)").execute(&database.pool).await.unwrap();
    let broken = "create unique index concurrently half on numbers (column1)";
    assert!(sqlx::query(broken).execute(&database.pool).await.is_err(), "it stays, and is of no use");
    apply(&database.pool, sql).await.unwrap();
    let whole = "select indisvalid from pg_index where indexrelid = 'half'::regclass";
    assert!(sqlx::query_scalar::<_, bool>(whole).fetch_one(&database.pool).await.unwrap());
}

/// Applies one more migration.
async fn apply(pool: &PgPool, sql: &'static str) -> Result<(), sqlx::migrate::MigrateError> {
    let no_transaction = sql.starts_with("-- no-transaction");
    let more = Migration::new(
        9_999,
        "more".into(),
        MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(sql),
        no_transaction,
    );
    let mut migrations = Migrator::with_migrations(vec![more]);
    migrations.set_ignore_missing(true);
    platform::db::apply_migrations(&migrations, pool).await
}

async fn until_waiting(pool: &PgPool) {
    let waiting = "select exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and query like 'alter table runs%')";
    while !sqlx::query_scalar::<_, bool>(waiting).fetch_one(pool).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A database as the last release leaves it, with ten thousand runs.
async fn released_database() -> (String, PgPool) {
    let TestDatabase { url, pool, .. } = local::test_database().await.unwrap();
    sqlx::raw_sql(EMPTY).execute(&pool).await.unwrap();
    // Prepared statements of open connections refer to the dropped tables.
    pool.close().await;
    let pool = PgPool::connect(&url).await.unwrap();
    MIGRATIONS.run_to(released(), &pool).await.unwrap();
    sqlx::raw_sql(DATA).execute(&pool).await.unwrap();
    (url, pool)
}

/// Drops everything that migrations have made.
const EMPTY: &str = "
    do $$ declare made record;
    begin
        for made in select 'table' as kind, format('public.%I', relname) as name from pg_class
                    where relnamespace = 'public'::regnamespace and relkind = 'r'
                    union all select 'sequence', format('public.%I', relname) from pg_class
                    where relnamespace = 'public'::regnamespace and relkind = 'S'
                    union all select 'function',
                        format('public.%I(%s)', proname, pg_get_function_identity_arguments(oid))
                    from pg_proc
                    where pronamespace = 'public'::regnamespace
        loop
            execute format('drop %s if exists %s cascade', made.kind, made.name);
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

/// Connections that execute all statements over and over.
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

    /// Waits until all statements have been executed so many times more.
    async fn rounds(&self, more: u64) {
        let enough = self.rounds.load(Ordering::SeqCst) + more;
        while self.rounds.load(Ordering::SeqCst) < enough {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it, and tells what failed.
    async fn stop(self) -> Vec<String> {
        self.stop.cancel();
        self.failures.join_all().await.concat()
    }
}

async fn execute(url: String, rounds: Arc<AtomicU64>, stop: CancellationToken) -> Vec<String> {
    let options: PgConnectOptions = url.parse().unwrap();
    let mut db = PgConnection::connect_with(&options.options([("statement_timeout", BOUND)])).await.unwrap();
    let mut failures = Vec::new();
    while !stop.is_cancelled() {
        for (name, statement) in statements() {
            let outcome = sqlx::query(AssertSqlSafe(statement)).fetch_all(&mut db).await;
            match outcome {
                Err(error) if !is_tried_again(&error) && failures.len() < 100 => {
                    failures.push(format!("{name}: {error}"));
                }
                _ => {}
            }
        }
        rounds.fetch_add(1, Ordering::SeqCst);
    }
    failures
}

/// Two writers in each other's way: every version tries that again.
fn is_tried_again(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40P01")
}

/// The statements of the release by name.
fn statements() -> impl Iterator<Item = (&'static str, &'static str)> {
    let blocks = STATEMENTS.split("\n-- ").skip(2);
    blocks.filter_map(|block| block.trim_end().trim_end_matches(';').split_once('\n'))
}
