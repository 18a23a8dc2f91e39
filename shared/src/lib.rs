//! What the worker and the API agree on: ids, states, the event contract, providers, and the ways to PostgreSQL and
//! Kafka. It leaves what is done with them to the two binaries.

pub mod audit;
pub mod connector;
pub mod db;
pub mod events;
pub mod ids;
pub mod kafka;
pub mod outbox;
pub mod pipeline_metrics;
pub mod provider;
pub mod secrets;
pub mod shutdown;
pub mod state;
pub mod syncs;
pub mod telemetry;
pub mod trace;
