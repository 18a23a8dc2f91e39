//! A record as a consumer reads it from Kafka, and the functions that apply records to PostgreSQL.

use std::collections::BTreeMap;

use contract::events::Topic;
use contract::trace::{TRACEPARENT, TraceContext};
use futures::future::BoxFuture;
use platform::kafka::KafkaConfig;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};
use sqlx::PgConnection;

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
        let headers = message.headers().map(|headers| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            headers
                .iter()
                .map(move |header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
        });
        Self {
            topic: known.copied().unwrap_or(topics[0]),
            topic_name: name.to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.into_iter().flatten().collect(),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }

    /// The trace context that its producer sent with it, if any.
    pub fn trace(&self) -> Option<TraceContext> {
        self.headers.get(TRACEPARENT)?.parse().ok()
    }
}
