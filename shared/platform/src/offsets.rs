//! Kafka offsets by topic and partition, and the offsets that the read model has been projected up to.

use std::collections::BTreeMap;

/// By topic (with the prefix of the installation) and partition, the offset of the next record.
pub type Offsets = BTreeMap<(String, i32), i64>;
