//! The queue of syncs: schedules, follow-ups and requests enqueue them, runners claim them under a lease and
//! finish them. Reading from the provider and publishing is for `sync`.

pub mod claim;
pub mod deleted_connectors;
pub mod finish;
pub mod follow_ups;
pub(crate) mod open_providers;
pub mod requests;
pub mod runner;
pub mod schedule;
