//! The schema and its migrations on a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it panics")]

mod migrations;
mod sync_queue;
