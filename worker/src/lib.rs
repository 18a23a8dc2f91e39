//! The worker: polls providers, publishes what changed to Kafka, and projects it into PostgreSQL. Serving it to
//! people is for the API.
//!
//! Chapters in the order of the flow: `sync` (schedules and requests make jobs, runners sync connectors and publish),
//! `consume` (the loop that reads Kafka), `project` (events become rows), `retention` (what is too old goes), `process`
//! (all of it as one program); for operators `foreground`, `rebuild` and `dead_letters`.

pub mod config;
pub mod consume;
pub mod dead_letters;
pub mod foreground;
pub mod gauges;
pub mod process;
pub mod project;
pub mod rebuild;
pub mod retention;
pub mod sync;
mod vitals;
