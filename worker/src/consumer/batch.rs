//! One batch: its records are applied, its dead letters stored and its offsets advanced in one transaction.

use std::borrow::Cow;
use std::collections::BTreeMap;

use platform::offsets::Offsets;
use sqlx::PgConnection;

use super::ConsumerConfig;
use super::bisect::{Bisection, is_caused_by_data};
use super::dead_letters;
use crate::metrics::{count_left_out_dead_letters, count_records};
use crate::records::{ConsumedRecord, Rejected};
use crate::store::projection_offsets::{self, AppliedRecord};

/// Why a batch was not applied.
#[derive(Debug)]
pub(super) enum ApplyError {
    /// Another consumer has moved the offset of the partition.
    Fenced { topic: String, partition: i32 },
    /// To be retried.
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Returns the records of assigned partitions that were not applied yet.
pub(super) fn unapplied<'a>(records: &'a [ConsumedRecord], offsets: &Offsets) -> Cow<'a, [ConsumedRecord]> {
    let is_unapplied = |record: &&ConsumedRecord| {
        let partition = (record.topic_name.clone(), record.partition);
        offsets.get(&partition).is_some_and(|next| record.offset >= *next)
    };
    if records.iter().all(|record| is_unapplied(&record)) {
        return Cow::Borrowed(records);
    }
    records.iter().filter(is_unapplied).cloned().collect()
}

/// Applies a batch and advances `offsets`. A record that PostgreSQL refuses for its content becomes a dead
/// letter.
pub(super) async fn apply_batch(
    config: &ConsumerConfig,
    offsets: &mut Offsets,
    records: &[ConsumedRecord],
) -> Result<(), ApplyError> {
    let mut bisection = Bisection::new(records);
    while let Some(slice) = bisection.next_slice() {
        config.heartbeat.record();
        match apply_slice(config, offsets, slice, None).await {
            Err(ApplyError::Database(error)) if is_caused_by_data(&error) => {
                if bisection.halve(slice).is_some() {
                    apply_slice(config, offsets, slice, Some(error.to_string())).await?;
                }
            }
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Applies records in one transaction or, where a record was refused before, stores it as a dead letter.
async fn apply_slice(
    config: &ConsumerConfig,
    offsets: &mut Offsets,
    records: &[ConsumedRecord],
    refusal: Option<String>,
) -> Result<(), ApplyError> {
    let mut tx = config.pool.begin().await?;
    let rejected = match refusal {
        Some(error) => vec![Rejected { index: 0, error }],
        None => (config.apply)(&mut tx, records).await?,
    };
    let left_out = dead_letters::store(&mut tx, records, &rejected).await?;
    let advanced = advance(&mut tx, offsets, records).await?;
    tx.commit().await?;
    offsets.extend(advanced);
    count_records(config.group, records.len() - rejected.len(), rejected.len() - left_out);
    count_left_out_dead_letters(config.group, left_out);
    Ok(())
}

/// Advances the offset of each partition, unless another consumer has moved it.
async fn advance(
    db: &mut PgConnection,
    offsets: &Offsets,
    records: &[ConsumedRecord],
) -> Result<Offsets, ApplyError> {
    let by_partition = records.iter().map(|record| {
        let ConsumedRecord { offset, timestamp, epoch, .. } = *record;
        let to = AppliedRecord { offset, timestamp, epoch };
        ((record.topic_name.clone(), record.partition), to)
    });
    let mut advanced = Offsets::new();
    for (partition, to) in by_partition.collect::<BTreeMap<_, _>>() {
        let from = offsets.get(&partition).copied();
        if !projection_offsets::advance(&mut *db, &partition, from, to).await? {
            let (topic, partition) = partition;
            return Err(ApplyError::Fenced { topic, partition });
        }
        advanced.insert(partition, to.offset + 1);
    }
    Ok(advanced)
}
