//! The event contract of Orchestration: ids, states, events, topics and trace context, as they lie on Kafka.

pub mod events;
pub mod ids;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod state;
pub mod trace;
