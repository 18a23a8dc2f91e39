//! A record as a consumer reads it from Kafka, and the functions that apply records to PostgreSQL.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use contract::events::Topic;
use contract::trace::{TRACEPARENT, TraceContext};
use futures::future::BoxFuture;
use platform::kafka::{KafkaConfig, native};
use rdkafka::Message;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Header, Headers};
use sqlx::PgConnection;

/// No record of ours has more headers, or more bytes of them. What is beyond is left out.
const MAX_HEADERS: usize = 64;
const MAX_HEADERS_BYTES: usize = 64 << 10;
/// The memory of a decoded value of JSON, in bytes.
const VALUE_BYTES: usize = 64;

/// Applies records within a transaction and returns those that can never be applied. After an error none of
/// them was applied.
pub type ApplyRecords = for<'a> fn(
    &'a mut PgConnection,
    &'a [ConsumedRecord],
) -> BoxFuture<'a, Result<Vec<Rejected>, sqlx::Error>>;

/// A record as it was read.
#[derive(Clone, Debug)]
pub struct ConsumedRecord {
    pub topic: Topic,
    /// The topic's name on this cluster.
    pub topic_name: String,
    pub partition: i32,
    pub offset: i64,
    /// In milliseconds; none when Kafka has none.
    pub timestamp: Option<i64>,
    /// The epoch of the leader that has written the record; none when Kafka has none.
    pub epoch: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub headers: BTreeMap<String, String>,
    pub payload: Option<Vec<u8>>,
}

/// A record that can never be applied, and the reason.
#[derive(Debug)]
pub struct Rejected {
    /// The record's index in the batch.
    pub index: usize,
    pub error: String,
}

impl ConsumedRecord {
    /// Copies a record of one of the topics out of the client's memory.
    pub fn read(message: &BorrowedMessage<'_>, kafka: &KafkaConfig, topics: &[Topic]) -> Self {
        let name = message.topic();
        let known = topics.iter().find(|topic| kafka.topic(**topic) == name);
        Self {
            topic: known.copied().unwrap_or(topics[0]),
            topic_name: name.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            epoch: native::leader_epoch(message),
            key: message.key().map(<[u8]>::to_vec),
            headers: message.headers().map(read_headers).unwrap_or_default(),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }

    /// The memory that the record takes once it is decoded, in bytes: roughly, since many small values take
    /// much more than their text.
    pub fn size(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        let [key, payload] = [&self.key, &self.payload].map(|part| part.as_deref().unwrap_or_default());
        let values = payload.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
        key.len() + headers.sum::<usize>() + payload.len() + values * VALUE_BYTES
    }

    /// The trace context that its producer sent with it, if any.
    pub fn trace(&self) -> Option<TraceContext> {
        self.headers.get(TRACEPARENT)?.parse().ok()
    }
}

/// Reads the first headers, up to one whose name is not UTF-8: the client library panics on it. The names and
/// values are text that PostgreSQL can store.
fn read_headers(headers: &BorrowedHeaders) -> BTreeMap<String, String> {
    let mut bytes = 0;
    let mut read = BTreeMap::new();
    for index in 0..headers.count().min(MAX_HEADERS) {
        let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
        let Ok(Some(Header { key: name, value })) = header else { break };
        let value = value.unwrap_or_default();
        bytes += name.len() + value.len();
        if bytes > MAX_HEADERS_BYTES {
            break;
        }
        read.insert(name.to_owned(), escaped(value));
    }
    read
}

/// The text of these bytes; if they are no text, their ASCII characters and the others as `\xff`.
fn escaped(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}
