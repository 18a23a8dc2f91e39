//! The API as its clients meet it: requests through the real router, on a database of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod access;
mod audit;
mod command_line;
mod comments;
mod connectors;
mod conventions;
mod examples;
mod fake_airflow;
mod governance;
mod metrics;
mod paging;
mod pipelines;
mod roles;
mod rotation;
mod runs;
mod syncs;
mod text;
mod trigger;
mod world;
