//! Records that the client library does not send: the Kafka protocol, spoken directly, so that the name and
//! the value of a header may be any bytes.

use std::time::{Duration, Instant};

use contract::events::Topic;
use platform::kafka::KafkaConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A record with headers of any bytes.
#[derive(Default)]
pub(crate) struct RawRecord {
    pub key: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub payload: Vec<u8>,
}

const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends records, each in a batch of its own, to the first partition of a topic.
pub(crate) async fn send(kafka: &KafkaConfig, topic: Topic, records: &[RawRecord]) {
    let topic = kafka.topic(topic);
    let mut broker = TcpStream::connect(&kafka.kafka_bootstrap_servers).await.unwrap();
    for record in records {
        let request = with_length(produce_request(&topic, &record_batch(record)));
        // The partition of a new topic has no leader at first.
        let started = Instant::now();
        loop {
            match produce(&mut broker, &topic, &request).await {
                NO_ERROR => break,
                error => assert!(started.elapsed() < TIMEOUT, "Kafka refuses the record: error {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

const NO_ERROR: i16 = 0;

/// Sends a request and returns the error of its partition.
async fn produce(broker: &mut TcpStream, topic: &str, request: &[u8]) -> i16 {
    broker.write_all(request).await.unwrap();
    let mut response = vec![0; usize::try_from(broker.read_i32().await.unwrap()).unwrap()];
    broker.read_exact(&mut response).await.unwrap();
    // It follows the correlation id, one topic with its name, and one partition with its index.
    let error = 4 + 4 + 2 + topic.len() + 4 + 4;
    i16::from_be_bytes([response[error], response[error + 1]])
}

/// Version 3 of Produce, which waits for all replicas.
fn produce_request(topic: &str, batch: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    let (api, version, correlation, client) = (0_i16, 3_i16, 1_i32, -1_i16);
    request.extend([api.to_be_bytes(), version.to_be_bytes()].concat());
    request.extend(correlation.to_be_bytes());
    request.extend(client.to_be_bytes());
    let (transaction, acks, timeout, topics, partitions, partition) =
        (-1_i16, -1_i16, 30_000_i32, 1_i32, 1_i32, 0_i32);
    request.extend([transaction.to_be_bytes(), acks.to_be_bytes()].concat());
    request.extend([timeout.to_be_bytes(), topics.to_be_bytes()].concat());
    request.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
    request.extend(topic.as_bytes());
    request.extend([partitions.to_be_bytes(), partition.to_be_bytes()].concat());
    request.extend(with_length(batch.to_vec()));
    request
}

fn with_length(bytes: Vec<u8>) -> Vec<u8> {
    [i32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec(), bytes].concat()
}

/// A batch of the message format 2, without compression.
fn record_batch(record: &RawRecord) -> Vec<u8> {
    let now = chrono::Utc::now().timestamp_millis();
    let (attributes, last_offset_delta, producer, producer_epoch, sequence, count) =
        (0_i16, 0_i32, -1_i64, -1_i16, -1_i32, 1_i32);
    let mut checked = attributes.to_be_bytes().to_vec();
    checked.extend(last_offset_delta.to_be_bytes());
    checked.extend([now.to_be_bytes(), now.to_be_bytes(), producer.to_be_bytes()].concat());
    checked.extend(producer_epoch.to_be_bytes());
    checked.extend([sequence.to_be_bytes(), count.to_be_bytes()].concat());
    checked.extend(encoded(record));
    let (leader_epoch, magic) = (-1_i32, 2_u8);
    let mut rest = leader_epoch.to_be_bytes().to_vec();
    rest.push(magic);
    rest.extend(crc32c(&checked).to_be_bytes());
    rest.extend(checked);
    [0_i64.to_be_bytes().to_vec(), with_length(rest)].concat()
}

fn encoded(record: &RawRecord) -> Vec<u8> {
    // Attributes, and the differences of time and offset to those of the batch.
    let mut bytes = vec![0, 0, 0];
    append(&mut bytes, &record.key);
    append(&mut bytes, &record.payload);
    bytes.extend(varint(record.headers.len()));
    for (name, value) in &record.headers {
        append(&mut bytes, name);
        append(&mut bytes, value);
    }
    [varint(bytes.len()), bytes].concat()
}

fn append(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend(varint(part.len()));
    bytes.extend(part);
}

/// A length in the zigzag encoding of signed numbers, seven bits a byte.
fn varint(length: usize) -> Vec<u8> {
    let mut rest = length << 1;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}
