//! The data of the third scale: one space with 10,000 pipelines and up to ten million runs, inserted by SQL
//! into a database that is kept for the next benchmark.

use orchestration_bench::{PIPELINES, execute, without_indexes};
use platform::pipeline_metrics;
use sqlx::{Connection, PgConnection, PgPool};

use crate::data::BenchData;

/// The keys of one admin: the first one's reads are measured beside those of the other.
pub(crate) const KEYS: [&str; 2] = ["qk_bench_space", "qk_bench_greedy"];
/// Runs that one statement inserts.
const CHUNK: i64 = 500_000;
/// The measured runs by id.
const MEASURED_RUNS: i64 = 1_000;

/// Opens a database with so many runs, which is filled unless it is complete.
pub(crate) async fn open(runs: i64) -> anyhow::Result<BenchData> {
    let name = format!("orchestration_bench_space_{runs}");
    let admin = local::postgres().await?;
    let url = local::ensure_database(&admin, &name).await?;
    if !is_complete(&url).await? {
        let drop = format!("drop database \"{name}\" with (force)");
        execute(&mut PgConnection::connect(&admin).await?, &drop).await?;
        local::ensure_database(&admin, &name).await?;
        platform::db::migrate(&PgPool::connect(&url).await?).await?;
        insert(&url, runs).await?;
    }
    let db = PgPool::connect(&url).await?;
    platform::db::migrate(&db).await?;
    sqlx::raw_sql(include_str!("space_audit.sql")).execute(&db).await?;
    platform::db::create_text_indexes(&db).await?;
    while pipeline_metrics::refresh(&db).await? {}
    for statement in ["vacuum analyze pipeline_metrics", "checkpoint"] {
        sqlx::raw_sql(statement).execute(&db).await?;
    }
    let space = sqlx::query_scalar("select id from spaces").fetch_one(&db).await?;
    let ids = sqlx::query_scalar("select md5('run' || n)::uuid from generate_series(0, $1 - 1) n")
        .bind(MEASURED_RUNS)
        .fetch_all(&db)
        .await?;
    Ok(BenchData { url, space, key: KEYS[0].to_owned(), runs: ids })
}

/// Returns whether the database was filled to the end.
async fn is_complete(url: &str) -> anyhow::Result<bool> {
    let mut db = PgConnection::connect(url).await?;
    Ok(sqlx::query_scalar("select to_regclass('complete') is not null").fetch_one(&mut db).await?)
}

async fn insert(url: &str, runs: i64) -> anyhow::Result<()> {
    let mut db = PgConnection::connect(url).await?;
    let keys = KEYS.map(|key| format!("'{key}'")).join(", ");
    let fill = |sql: &str| {
        sql.replace("{runs}", &runs.to_string())
            .replace("{pipelines}", &PIPELINES.to_string())
            .replace("{keys}", &keys)
    };
    execute(&mut db, "set synchronous_commit = off; set maintenance_work_mem = '1GB'").await?;
    execute(&mut db, &fill(include_str!("space.sql"))).await?;
    let chunks = fill(include_str!("space_runs.sql"));
    without_indexes(&mut db, async |db| {
        for from in (0..runs).step_by(usize::try_from(CHUNK)?) {
            let to = (from + CHUNK).min(runs) - 1;
            let chunk = chunks.replace("{from}", &from.to_string()).replace("{to}", &to.to_string());
            execute(db, &chunk).await?;
            local::print(&format!("{} of {runs} runs are inserted", to + 1));
        }
        Ok(())
    })
    .await?;
    execute(&mut db, "vacuum analyze").await?;
    execute(&mut db, "create table complete ()").await
}
