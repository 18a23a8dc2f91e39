//! What the worker and the API share beside the contract: the ways to PostgreSQL and Kafka, the outbox, the audit trail,
//! sealed secrets, telemetry and shutdown.

pub mod audit;
pub mod db;
pub mod kafka;
pub mod outbox;
pub mod pipeline_metrics;
pub mod secrets;
pub mod shutdown;
pub mod stored_connector;
pub mod syncs;
pub mod telemetry;
pub mod trace;
