//! `projection_offsets`: the next offset of each partition that a consumer has to apply. `platform::offsets`
//! reads all of them.

use sqlx::{PgConnection, PgExecutor};

/// Returns the offset of one partition; none before the first assignment.
pub(crate) async fn find(db: impl PgExecutor<'_>, topic: &str, partition: i32) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select next_offset from projection_offsets where topic = $1 and partition = $2")
        .bind(topic)
        .bind(partition)
        .fetch_optional(db)
        .await
}

/// Sets the offset of one partition, whatever it was.
pub(crate) async fn set(db: impl PgExecutor<'_>, topic: &str, partition: i32, next: i64) -> sqlx::Result<()> {
    sqlx::query(
        "insert into projection_offsets (topic, partition, next_offset) values ($1, $2, $3)
         on conflict (topic, partition) do update set next_offset = excluded.next_offset",
    )
    .bind(topic)
    .bind(partition)
    .bind(next)
    .execute(db)
    .await?;
    Ok(())
}

/// Advances the offset of one partition; false when it is not `from`, because another consumer has moved it.
pub(crate) async fn advance(
    db: &mut PgConnection,
    (topic, partition): &(String, i32),
    from: Option<i64>,
    next: i64,
) -> sqlx::Result<bool> {
    let advanced = sqlx::query(
        "update projection_offsets set next_offset = $3
         where topic = $1 and partition = $2 and next_offset = $4",
    )
    .bind(topic)
    .bind(partition)
    .bind(next)
    .bind(from)
    .execute(db)
    .await?;
    Ok(advanced.rows_affected() == 1)
}

/// Blocks every projection from committing until the end of the transaction.
pub(crate) async fn lock(db: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("lock table projection_offsets in exclusive mode").execute(db).await?;
    Ok(())
}
