//! Kafka offsets by topic and partition, and the offsets that the read model has been projected up to.

use std::collections::BTreeMap;

use sqlx::PgExecutor;

/// By topic (with the prefix of the installation) and partition, the offset of the next record.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Returns the offsets that the projection has reached, of all topics.
pub async fn find_projected(db: impl PgExecutor<'_>) -> sqlx::Result<Offsets> {
    let query = sqlx::query_as("select topic, partition, next_offset from projection_offsets");
    query.fetch_all(db).await.map(by_partition)
}

/// Returns the offsets that the projection has reached, of these topics.
pub async fn find_projected_of(db: impl PgExecutor<'_>, topics: &[String]) -> sqlx::Result<Offsets> {
    let query =
        sqlx::query_as("select topic, partition, next_offset from projection_offsets where topic = any($1)");
    query.bind(topics).fetch_all(db).await.map(by_partition)
}

fn by_partition(rows: Vec<(String, i32, i64)>) -> Offsets {
    rows.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect()
}
