//! Kafka offsets by topic and partition, and the offsets that the read model has been projected up to.

use std::collections::{BTreeMap, BTreeSet};

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

/// Returns how many records the projection is behind these offsets.
pub async fn find_lag(db: impl PgExecutor<'_>, target: &Offsets) -> sqlx::Result<i64> {
    let topics: BTreeSet<String> = target.keys().map(|(topic, _)| topic.clone()).collect();
    let projected = find_projected_of(db, &Vec::from_iter(topics)).await?;
    let lag = |(partition, target): (&_, &i64)| (target - projected.get(partition).unwrap_or(&0)).max(0);
    Ok(target.iter().map(lag).sum())
}

fn by_partition(rows: Vec<(String, i32, i64)>) -> Offsets {
    rows.into_iter().map(|(topic, partition, next)| ((topic, partition), next)).collect()
}
