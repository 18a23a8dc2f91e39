//! Dead letters of a batch: bounded in size and number, and stored whatever the record contains.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use contract::trace::TraceContext;
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

use super::bisect::is_caused_by_data;
use super::log_sample::LogSample;
use crate::records::{ConsumedRecord, Rejected};
use crate::store::dead_letters::{self, NewDeadLetter, OpenLetters, WholePayload};

/// A payload up to this size is stored whole, so that it can be sent again; of a larger one the beginning.
const MAX_WHOLE_BYTES: usize = 1 << 20;
const EXCERPT_BYTES: usize = 64 << 10;
/// No key of an event is longer: keys are UUIDs.
const MAX_KEY_BYTES: usize = 1 << 10;
const MAX_ERROR_CHARS: usize = 300;
/// While the open dead letters have more bytes than this, only short excerpts are stored.
const MAX_OPEN_BYTES: i64 = 256 << 20;
const SHORT_EXCERPT_BYTES: usize = 1 << 10;
/// While there are more open dead letters than this, none is stored: they are counted and logged.
const MAX_OPEN: i64 = 50_000;

static LOG_SAMPLE: Mutex<LogSample> = Mutex::new(LogSample::new());

/// Stores rejected records; returns how many were left out because there are too many open dead letters.
pub(super) async fn store(
    db: &mut PgConnection,
    records: &[ConsumedRecord],
    rejected: &[Rejected],
) -> sqlx::Result<usize> {
    if rejected.is_empty() {
        return Ok(0);
    }
    let mut open = dead_letters::count_open(&mut *db, MAX_OPEN).await?;
    let mut left_out = 0;
    for Rejected { index, error } in rejected {
        let (record, error) = (&records[*index], shorten(error));
        let is_stored = open.count < MAX_OPEN;
        if is_stored {
            let letter = new_letter(record, &error, &open);
            insert(db, &letter).await?;
            open.count += 1;
            open.bytes += letter.payload.map_or(0, <[u8]>::len) as i64;
        } else {
            left_out += 1;
        }
        log(record, &error, is_stored);
    }
    Ok(left_out)
}

fn new_letter<'a>(record: &'a ConsumedRecord, error: &'a str, open: &OpenLetters) -> NewDeadLetter<'a> {
    let payload = record.payload.as_deref();
    let bytes = payload.map_or(0, <[u8]>::len);
    let key_bytes = record.key.as_ref().map_or(0, Vec::len);
    let excerpt = if open.bytes < MAX_OPEN_BYTES { EXCERPT_BYTES } else { SHORT_EXCERPT_BYTES };
    let whole = if open.bytes < MAX_OPEN_BYTES { MAX_WHOLE_BYTES } else { SHORT_EXCERPT_BYTES };
    let is_cut = bytes > whole || key_bytes > MAX_KEY_BYTES;
    let cut = |payload: &'a [u8]| if is_cut { &payload[..payload.len().min(excerpt)] } else { payload };
    NewDeadLetter {
        topic: &record.topic_name,
        partition: record.partition,
        offset: record.offset,
        key: record.key.as_deref().map(|key| &key[..key.len().min(MAX_KEY_BYTES)]),
        headers: &record.headers,
        payload: payload.map(cut),
        whole: is_cut.then(|| WholePayload {
            bytes: bytes as i64,
            sha256: Sha256::digest(payload.unwrap_or_default()).into(),
        }),
        error,
    }
}

/// Inserts a dead letter or, where PostgreSQL refuses its headers or its reason, one without them.
async fn insert(db: &mut PgConnection, letter: &NewDeadLetter<'_>) -> sqlx::Result<()> {
    let mut savepoint = db.begin().await?;
    match dead_letters::insert(&mut savepoint, letter).await {
        Err(error) if is_caused_by_data(&error) => {
            savepoint.rollback().await?;
            let (headers, error) = (&BTreeMap::new(), "the record cannot be stored with its headers");
            dead_letters::insert(db, &NewDeadLetter { headers, error, ..*letter }).await
        }
        outcome => {
            outcome?;
            savepoint.commit().await
        }
    }
}

/// The beginning of a reason, in characters that PostgreSQL stores.
fn shorten(error: &str) -> String {
    error.chars().take(MAX_ERROR_CHARS).map(|char| if char == '\0' { '\u{fffd}' } else { char }).collect()
}

fn log(record: &ConsumedRecord, error: &str, is_stored: bool) {
    let mut sample = LOG_SAMPLE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(omitted) = sample.admit(Instant::now()) else { return };
    let ConsumedRecord { topic_name: topic, partition, offset, .. } = record;
    let trace_id = record.trace().map(TraceContext::trace_id);
    if is_stored {
        tracing::error!(topic, partition, offset, error, trace_id, omitted, "dead letter stored");
    } else {
        tracing::error!(topic, partition, offset, error, trace_id, omitted, "dead letter left out");
    }
}

#[cfg(test)]
mod tests {
    use contract::events::Topic;

    use super::*;

    fn record(payload: usize, key: usize) -> ConsumedRecord {
        let (topic, topic_name, headers) = (Topic::Runs, "runs".to_owned(), BTreeMap::new());
        let (key, payload) = (Some(vec![1; key]), Some(vec![2; payload]));
        let (partition, offset, timestamp, epoch) = (0, 0, None, None);
        ConsumedRecord { topic, topic_name, partition, offset, timestamp, epoch, key, headers, payload }
    }

    /// The bytes of key and payload that are stored, and the size of the whole if that is more.
    fn stored(record: &ConsumedRecord, open_bytes: i64) -> (usize, usize, Option<i64>) {
        let letter = new_letter(record, "", &OpenLetters { count: 0, bytes: open_bytes });
        (letter.key.unwrap().len(), letter.payload.unwrap().len(), letter.whole.map(|whole| whole.bytes))
    }

    #[test]
    fn large_payloads_and_keys_are_cut() {
        assert_eq!(stored(&record(MAX_WHOLE_BYTES, 36), 0), (36, MAX_WHOLE_BYTES, None));
        let larger = MAX_WHOLE_BYTES + 1;
        assert_eq!(stored(&record(larger, 36), 0), (36, EXCERPT_BYTES, Some(larger as i64)));
        assert_eq!(stored(&record(9, MAX_KEY_BYTES + 1), 0), (MAX_KEY_BYTES, 9, Some(9)));
        assert_eq!(stored(&record(1_024, 36), MAX_OPEN_BYTES), (36, 1_024, None));
        assert_eq!(stored(&record(1_025, 36), MAX_OPEN_BYTES), (36, 1_024, Some(1_025)));
    }

    #[test]
    fn reasons_are_shortened() {
        assert_eq!(shorten("a\0b"), "a\u{fffd}b");
        assert_eq!(shorten(&"ß".repeat(1_000)), "ß".repeat(300));
    }
}
