//! The indexes for text in run ids and in pipelines. They need the extension `pg_trgm`, which not every
//! database offers, so they are no migration.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

/// The condition that the id of a run is like that of a scheduled run: a word and a time. The index
/// `runs_scheduled_id` has the days and minutes of these ids.
pub const IS_SCHEDULED_RUN_ID: &str = r"external_id like 'scheduled\_\_20__-__-__T__:__:__+00:00'";

/// The condition that it is another one, or has something else than digits in its time. These ids are in the
/// index for text.
pub const IS_OTHER_RUN_ID: &str = r"(external_id like 'scheduled\_\_20__-__-__T__:__:__+00:00'
    and substr(external_id, 14, 17) !~ '[^0-9T:-]|[T:-][T:-]|^[T:-]|[T:-]$') is not true";

/// The definitions of the indexes.
const OF_RUN_IDS: &str = r#"runs using gin (lower(external_id collate "und-x-icu") gin_trgm_ops) where "#;
const OF_PIPELINES: &str = "pipelines using gin (search_text gin_trgm_ops)";

/// Why a database has no such index: insufficient privilege, an extension that is not installed or not
/// allowed, or one in a schema that is not searched.
const NOT_AVAILABLE: [&str; 4] = ["42501", "58P01", "0A000", "42704"];

/// Creates the indexes unless they exist. Returns whether the database has them; without them, a search for
/// text reads all runs or all pipelines of its space.
pub async fn create_text_indexes(pool: &PgPool) -> sqlx::Result<bool> {
    let mut db = pool.acquire().await?;
    match create_all(&mut db).await {
        Ok(()) => Ok(true),
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| NOT_AVAILABLE.contains(&code.as_ref())) =>
        {
            tracing::warn!(%error, "text indexes not available");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn create_all(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("create extension if not exists pg_trgm").execute(&mut *db).await?;
    create(db, "runs_external_id", &format!("{OF_RUN_IDS}{IS_OTHER_RUN_ID}")).await?;
    create(db, "pipelines_search_text", OF_PIPELINES).await?;
    analyze(db).await
}

/// Creates an index unless a valid one has its name.
async fn create(db: &mut PgConnection, name: &str, definition: &str) -> sqlx::Result<()> {
    let is_invalid: bool = sqlx::query_scalar(
        "select exists (select from pg_index where not indisvalid
             and indexrelid = to_regclass('public.' || $1))",
    )
    .bind(name)
    .fetch_one(&mut *db)
    .await?;
    if is_invalid {
        let statement = format!("drop index concurrently public.{name}");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *db).await?;
    }
    let statement = format!("create index concurrently if not exists {name} on public.{definition}");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut *db).await?;
    Ok(())
}

/// Collects the statistics of the text in run ids unless there are some. Until then, PostgreSQL expects so
/// many matches of any text that it reads all runs instead of the index.
async fn analyze(db: &mut PgConnection) -> sqlx::Result<()> {
    let has_statistics = "select exists (select from pg_stats_ext_exprs
         where schemaname = 'public' and tablename = 'runs' and n_distinct is not null)";
    if !sqlx::query_scalar::<_, bool>(has_statistics).fetch_one(&mut *db).await? {
        sqlx::query("analyze public.runs").execute(&mut *db).await?;
    }
    Ok(())
}
