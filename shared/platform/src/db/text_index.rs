//! The index for text in run ids. It needs the extension `pg_trgm`, which not every database offers, so it is
//! no migration.

use sqlx::{AssertSqlSafe, PgConnection, PgPool};

/// The condition that the id of a run is like that of a scheduled run: a word and a time. The index
/// `runs_scheduled_id` has the days and minutes of these ids.
pub const IS_SCHEDULED_RUN_ID: &str = r"external_id like 'scheduled\_\_20__-__-__T__:__:__+00:00'";

/// The condition that it is another one, or has something else than digits in its time. These ids are in the
/// index for text.
pub const IS_OTHER_RUN_ID: &str = r"(external_id like 'scheduled\_\_20__-__-__T__:__:__+00:00'
    and substr(external_id, 14, 17) !~ '[^0-9T:-]|[T:-][T:-]|^[T:-]|[T:-]$') is not true";

const CREATE: &str = r#"create index concurrently if not exists runs_external_id on public.runs
    using gin (lower(external_id collate "und-x-icu") gin_trgm_ops) where "#;

/// Why a database has no such index: insufficient privilege, an extension that is not installed or not
/// allowed, or one in a schema that is not searched.
const NOT_AVAILABLE: [&str; 4] = ["42501", "58P01", "0A000", "42704"];

/// Creates the index unless it exists. Returns whether the database has it; without it, a search for text in
/// run ids reads all runs of its space.
pub async fn create_text_index(pool: &PgPool) -> sqlx::Result<bool> {
    let mut db = pool.acquire().await?;
    match create(&mut db).await {
        Ok(()) => Ok(true),
        Err(sqlx::Error::Database(error))
            if error.code().is_some_and(|code| NOT_AVAILABLE.contains(&code.as_ref())) =>
        {
            tracing::warn!(%error, "text index not available");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

async fn create(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("create extension if not exists pg_trgm").execute(&mut *db).await?;
    let is_invalid: bool = sqlx::query_scalar(
        "select exists (select from pg_index where not indisvalid
             and indexrelid = to_regclass('public.runs_external_id'))",
    )
    .fetch_one(&mut *db)
    .await?;
    if is_invalid {
        sqlx::query("drop index concurrently public.runs_external_id").execute(&mut *db).await?;
    }
    sqlx::query(AssertSqlSafe(format!("{CREATE}{IS_OTHER_RUN_ID}"))).execute(&mut *db).await?;
    analyze(db).await
}

/// Collects the statistics of the indexed expression unless there are some. Until then, PostgreSQL expects so
/// many matches of any text that it reads the runs in the order of the response instead of the index.
async fn analyze(db: &mut PgConnection) -> sqlx::Result<()> {
    let has_statistics =
        "select exists (select from pg_stats where schemaname = 'public' and tablename = 'runs_external_id')";
    if !sqlx::query_scalar::<_, bool>(has_statistics).fetch_one(&mut *db).await? {
        sqlx::query("analyze public.runs").execute(&mut *db).await?;
    }
    Ok(())
}
