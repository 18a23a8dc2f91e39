//! Tests of the worker on real PostgreSQL and Kafka: each test has a database and topics of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod airflow;
mod audit;
mod backlog;
mod blackhole;
mod consumer;
mod control_connections;
mod deactivation;
mod deleted_connectors;
mod failing_rows;
mod faults;
mod fleet;
mod gauges;
mod graphs;
mod histories;
mod jobs;
mod kafka_blackhole;
mod killed;
mod lists;
mod log_replaced;
mod long_polls;
mod memory;
mod mirror;
mod notifications;
mod oauth2;
mod open_topics;
mod operating;
mod outages;
mod outbox;
mod producer;
mod projection;
mod raw_records;
mod readable;
mod rebuild;
mod republish;
mod retention;
mod rotation;
mod scenarios;
mod signals;
mod starting;
mod syncing;
mod test_worker;
mod topics;
mod traces;
mod workers;
