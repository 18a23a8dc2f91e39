//! The API as its clients meet it: requests through the real router, on a database of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where it fails")]

mod access;
mod api_process;
mod audit;
mod command_line;
mod comments;
mod conformance;
mod connectors;
mod conventions;
mod event_stream;
mod events;
mod events_resumed;
mod examples;
mod fake_airflow;
mod governance;
mod hang_up;
#[path = "../../../worker/tests/it/made_events.rs"]
mod made_events;
mod metrics;
mod paging;
mod pipelines;
mod plans;
mod roles;
mod rotation;
mod runs;
mod schemathesis;
mod stage;
mod statuses;
mod syncs;
#[path = "../../../worker/tests/it/test_topics.rs"]
mod test_topics;
mod text;
mod trigger;
mod trigger_airflow;
mod world;
