//! `projection_offsets`: the next offset of each partition that a consumer has to apply. `platform::offsets`
//! reads all of them.

use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

/// How far a partition was applied.
#[derive(Clone, Copy, Debug, sqlx::FromRow)]
pub(crate) struct StoredOffset {
    pub next_offset: i64,
    /// The id of the topic when its records were applied; none when Kafka did not tell it.
    pub topic_id: Option<Uuid>,
    /// The timestamp of the record before the next offset, in milliseconds; none when it is not known.
    pub last_timestamp: Option<i64>,
    /// The leader epoch of that record; none when it is not known.
    pub last_epoch: Option<i32>,
}

/// The last record of a partition that is applied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppliedRecord {
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub epoch: Option<i32>,
}

/// Returns the offset of one partition; none before the first assignment.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    topic: &str,
    partition: i32,
) -> sqlx::Result<Option<StoredOffset>> {
    sqlx::query_as(
        "select next_offset, topic_id,
             case when last_offset = next_offset - 1 then last_timestamp end as last_timestamp,
             case when last_epoch_offset = next_offset - 1 then last_epoch end as last_epoch
         from projection_offsets where topic = $1 and partition = $2",
    )
    .bind(topic)
    .bind(partition)
    .fetch_optional(db)
    .await
}

/// Sets the offset of one partition of the topic that has this id, whatever it was.
pub(crate) async fn set(
    db: impl PgExecutor<'_>,
    (topic, topic_id): (&str, Option<Uuid>),
    partition: i32,
    next: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into projection_offsets (topic, partition, next_offset, topic_id) values ($1, $2, $3, $4)
         on conflict (topic, partition) do update set
             next_offset = excluded.next_offset, topic_id = excluded.topic_id,
             last_offset = null, last_timestamp = null, last_epoch_offset = null, last_epoch = null",
    )
    .bind(topic)
    .bind(partition)
    .bind(next)
    .bind(topic_id)
    .execute(db)
    .await?;
    Ok(())
}

/// Advances the offset of one partition; false when it is not `from`, because another consumer has moved it.
pub(crate) async fn advance(
    db: &mut PgConnection,
    (topic, partition): &(String, i32),
    from: Option<i64>,
    to: AppliedRecord,
) -> sqlx::Result<bool> {
    let advanced = sqlx::query(
        "update projection_offsets set next_offset = $3 + 1,
             last_offset = $3, last_timestamp = $5, last_epoch_offset = $3, last_epoch = $6
         where topic = $1 and partition = $2 and next_offset = $4",
    )
    .bind(topic)
    .bind(partition)
    .bind(to.offset)
    .bind(from)
    .bind(to.timestamp)
    .bind(to.epoch)
    .execute(db)
    .await?;
    Ok(advanced.rows_affected() == 1)
}
