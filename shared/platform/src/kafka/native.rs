//! What librdkafka can do and rdkafka has no safe interface to: the ids of topics, and the leader epochs of
//! records and positions. All unsafe code of the project is in this file.

#![expect(unsafe_code, reason = "functions of librdkafka that rdkafka does not wrap")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as rd;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use uuid::Uuid;

/// An object of librdkafka, and the function that destroys it.
struct Native<T> {
    object: *mut T,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Drop for Native<T> {
    fn drop(&mut self) {
        // SAFETY: the object is not null, it is owned, and it is destroyed once.
        unsafe { (self.destroy)(self.object) }
    }
}

/// Returns the ids that Kafka has given to these topics: a topic that is created again has another one.
/// Brokers before Kafka 2.8 give none.
///
/// # Errors
/// When a topic cannot be described, or Kafka does not answer in time.
pub fn find_topic_ids<C: ClientContext>(
    client: &Client<C>,
    topics: &[&str],
    timeout: Duration,
) -> KafkaResult<BTreeMap<String, Uuid>> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = topics.iter().map(|name| CString::new(*name)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let client = client.native_ptr();
    let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client outlives the call, the names are copied, and the result of each `new` is never null.
    // The queue may be destroyed before its answer, which is then dropped.
    let answer = unsafe {
        let queue = Native { object: rd::rd_kafka_queue_new(client), destroy: rd::rd_kafka_queue_destroy };
        let topics = Native {
            object: rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            destroy: rd::rd_kafka_TopicCollection_destroy,
        };
        rd::rd_kafka_DescribeTopics(client, topics.object, ptr::null(), queue.object);
        rd::rd_kafka_queue_poll(queue.object, timeout)
    };
    if answer.is_null() {
        return Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut));
    }
    read_topic_ids(&Native { object: answer, destroy: rd::rd_kafka_event_destroy })
}

fn read_topic_ids(answer: &Native<rd::rd_kafka_event_t>) -> KafkaResult<BTreeMap<String, Uuid>> {
    let mut ids = BTreeMap::new();
    // SAFETY: the answer is an event that lives throughout; it is the result of `DescribeTopics` unless it
    // has an error. Its topics, their names, ids and errors belong to it.
    unsafe {
        check(rd::rd_kafka_event_error(answer.object))?;
        let result = rd::rd_kafka_event_DescribeTopics_result(answer.object);
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for topic in slice::from_raw_parts(topics, count) {
            check(rd::rd_kafka_error_code(rd::rd_kafka_TopicDescription_error(*topic)))?;
            let name = CStr::from_ptr(rd::rd_kafka_TopicDescription_name(*topic));
            let id = rd::rd_kafka_TopicDescription_topic_id(*topic);
            let high = rd::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
            let low = rd::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
            ids.insert(name.to_string_lossy().into_owned(), Uuid::from_u64_pair(high, low));
        }
    }
    ids.retain(|_, id| !id.is_nil());
    Ok(ids)
}

fn check(code: rd::rd_kafka_resp_err_t) -> KafkaResult<()> {
    match code {
        rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::AdminOp(code.into())),
    }
}

/// Returns the epoch of the leader that has written the record, if it is known.
pub fn leader_epoch(message: &BorrowedMessage<'_>) -> Option<i32> {
    // SAFETY: the message is borrowed, so that it is alive.
    let epoch = unsafe { rd::rd_kafka_message_leader_epoch(message.ptr()) };
    (epoch >= 0).then_some(epoch)
}

/// Adds a partition with the offset to read next, and the leader epoch of the record before it.
///
/// # Errors
/// When the topic's name contains a zero byte.
pub fn add_position(
    partitions: &mut TopicPartitionList,
    (topic, partition): (&str, i32),
    offset: i64,
    leader_epoch: Option<i32>,
) -> KafkaResult<()> {
    let topic = CString::new(topic)?;
    // SAFETY: the list is borrowed mutably; the topic's name is copied, and the added element is never null
    // and is written before another one may move it.
    unsafe {
        let element = rd::rd_kafka_topic_partition_list_add(partitions.ptr(), topic.as_ptr(), partition);
        (*element).offset = offset;
        rd::rd_kafka_topic_partition_set_leader_epoch(element, leader_epoch.unwrap_or(-1));
    }
    Ok(())
}
