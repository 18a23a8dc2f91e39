#![doc = include_str!("../README.md")]

pub mod audit;
pub mod command_line;
pub mod db;
pub mod health;
pub mod incidents;
pub mod kafka;
pub mod notifications;
pub mod offsets;
pub mod outbox;
pub mod periodic;
pub mod pipeline_metrics;
pub mod secrets;
pub mod shutdown;
pub mod stored_connector;
pub mod sync_queue;
pub mod telemetry;
pub mod trace;
mod version;
pub mod watched_tasks;

pub use version::version;
