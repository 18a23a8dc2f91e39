//! `projection_offsets`: the next offset of each partition that a consumer has to apply. `platform::offsets`
//! reads all of them.

use sqlx::{PgConnection, PgExecutor};

/// How far a partition was applied.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(crate) struct StoredOffset {
    pub next_offset: i64,
    /// The timestamp of the record before the next offset, in milliseconds; none when it is not known.
    pub last_timestamp: Option<i64>,
}

/// Returns the offset of one partition; none before the first assignment.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    topic: &str,
    partition: i32,
) -> sqlx::Result<Option<StoredOffset>> {
    sqlx::query_as(
        "select next_offset, case when last_offset = next_offset - 1 then last_timestamp end as last_timestamp
         from projection_offsets where topic = $1 and partition = $2",
    )
    .bind(topic)
    .bind(partition)
    .fetch_optional(db)
    .await
}

/// Sets the offset of one partition, whatever it was.
pub(crate) async fn set(db: impl PgExecutor<'_>, topic: &str, partition: i32, next: i64) -> sqlx::Result<()> {
    sqlx::query(
        "insert into projection_offsets (topic, partition, next_offset) values ($1, $2, $3)
         on conflict (topic, partition) do update set
             next_offset = excluded.next_offset, last_offset = null, last_timestamp = null",
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
    to: StoredOffset,
) -> sqlx::Result<bool> {
    let advanced = sqlx::query(
        "update projection_offsets set next_offset = $3, last_offset = $3 - 1, last_timestamp = $5
         where topic = $1 and partition = $2 and next_offset = $4",
    )
    .bind(topic)
    .bind(partition)
    .bind(to.next_offset)
    .bind(from)
    .bind(to.last_timestamp)
    .execute(db)
    .await?;
    Ok(advanced.rows_affected() == 1)
}
