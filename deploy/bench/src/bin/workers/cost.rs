//! What the workers cost PostgreSQL: statements, transactions, connections, written rows and write-ahead log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

static STATEMENTS: AtomicU64 = AtomicU64::new(0);
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);
/// How many tables are listed by themselves.
const MAX_TABLES: i64 = 6;

/// Counts the log lines of SQL statements, one of each.
struct StatementLayer;

impl<S: Subscriber> Layer<S> for StatementLayer {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        STATEMENTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts all statements of this process from now on.
pub(crate) fn count_statements() {
    let statements = Targets::new().with_target("sqlx::query", LevelFilter::DEBUG);
    tracing_subscriber::registry().with(StatementLayer.with_filter(statements)).init();
}

/// What PostgreSQL has counted so far.
#[derive(sqlx::FromRow)]
struct DatabaseCounters {
    transactions: i64,
    rows: i64,
    wal: i64,
}

pub(crate) struct Meter {
    started: Instant,
    statements: u64,
    before: DatabaseCounters,
}

/// The number of connections in the mean and at most.
pub(crate) struct Connections {
    mean: f64,
    max: i64,
}

/// Counts the connections of the workers for so long.
pub(crate) async fn sample_connections(db: &PgPool, duration: Duration) -> anyhow::Result<Connections> {
    let until = Instant::now() + duration;
    let mut counts: Vec<i64> = Vec::new();
    while Instant::now() < until {
        let count = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where application_name like 'orchestration-worker%'",
        );
        counts.push(count.fetch_one(db).await?);
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
    let mean = counts.iter().sum::<i64>() as f64 / counts.len() as f64;
    Ok(Connections { mean, max: counts.into_iter().max().unwrap_or_default() })
}

impl Meter {
    pub(crate) async fn start(db: &PgPool) -> anyhow::Result<Self> {
        sqlx::query(
            "create table rows_before as select relname, n_tup_ins + n_tup_upd + n_tup_del as n
             from pg_stat_user_tables",
        )
        .execute(db)
        .await?;
        let statements = STATEMENTS.load(Ordering::Relaxed);
        Ok(Self { started: Instant::now(), statements, before: counters(db).await? })
    }

    pub(crate) async fn table(self, db: &PgPool, connections: Connections) -> anyhow::Result<String> {
        let (seconds, after) = (self.started.elapsed().as_secs_f64(), counters(db).await?);
        let rate = |count: f64| format!("{:.1}/s", count / seconds);
        let statements = (STATEMENTS.load(Ordering::Relaxed) - self.statements) as f64;
        let mut table = format!(
            "| | |\n|---|---:|\n| connections to PostgreSQL, mean | {:.0} |\n| … at most | {} |\n\
             | statements | {} |\n| transactions | {} |\n| rows written | {} |\n| WAL | {:.0} KiB/s |\n",
            connections.mean,
            connections.max,
            rate(statements),
            rate((after.transactions - self.before.transactions) as f64),
            rate((after.rows - self.before.rows) as f64),
            (after.wal - self.before.wal) as f64 / 1024.0 / seconds
        );
        for (name, rows) in written_tables(db).await? {
            table += &format!("| … rows of {name} | {} |\n", rate(rows as f64));
        }
        Ok(table)
    }
}

async fn counters(db: &PgPool) -> sqlx::Result<DatabaseCounters> {
    sqlx::query_as(
        "select (select xact_commit + xact_rollback from pg_stat_database where datname = current_database())
                 as transactions,
             (select sum(n_tup_ins + n_tup_upd + n_tup_del)::int8 from pg_stat_user_tables) as rows,
             (pg_current_wal_insert_lsn() - '0/0')::int8 as wal",
    )
    .fetch_one(db)
    .await
}

/// The tables with the most written rows since the start, and their numbers.
async fn written_tables(db: &PgPool) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "select relname::text, n_tup_ins + n_tup_upd + n_tup_del - n as written
         from pg_stat_user_tables join rows_before using (relname)
         where relname <> 'rows_before' order by written desc limit $1",
    )
    .bind(MAX_TABLES)
    .fetch_all(db)
    .await
}
