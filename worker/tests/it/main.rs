//! Tests of the worker on real PostgreSQL and Kafka: each test has a database and topics of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod airflow;
mod audit;
mod blackhole;
mod consumer;
mod deactivation;
mod faults;
mod gauges;
mod graphs;
mod histories;
mod jobs;
mod killed;
mod lists;
mod mirror;
mod open_topics;
mod operating;
mod outages;
mod producer;
mod projection;
mod raw_records;
mod retention;
mod rotation;
mod scenarios;
mod syncing;
mod test_worker;
mod traces;
mod workers;
