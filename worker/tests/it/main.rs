//! The worker on real PostgreSQL and Kafka: each test has a database and topics of its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod airflow;
mod consumer;
mod faults;
mod jobs;
mod mirror;
mod operating;
mod outages;
mod projection;
mod scenarios;
mod stage;
mod syncing;
mod worker_process;
mod world;
