//! Tests of the API: requests through the real router, each test on a database of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod access;
mod app;
mod assertions;
mod audit;
mod breaking_changes;
mod client;
mod client_disconnects;
mod command_line;
mod comments;
mod conformance;
mod connector_test;
mod connectors;
mod conventions;
mod event_stream;
mod events;
mod events_resumed;
mod examples;
mod governance;
mod installation;
mod metrics;
mod paging;
mod pipelines;
mod plans;
mod response;
mod roles;
mod rotation;
mod runs;
mod schemathesis;
mod seed;
mod statuses;
mod syncs;
mod text;
mod trigger;
mod trigger_airflow;
