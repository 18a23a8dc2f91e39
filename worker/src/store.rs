//! All SQL of the worker, one file per table or query: statements with parameters in and rows out. The
//! callers interpret the rows.

pub mod backtest;
pub mod change_cursors;
pub mod connector_state;
pub(crate) mod connectors;
pub(crate) mod dead_letters;
pub mod entities;
pub mod expectations;
pub(crate) mod fingerprints;
pub(crate) mod histories;
pub(crate) mod inbox;
pub(crate) mod incident_changes;
pub(crate) mod incidents;
pub(crate) mod incomplete_runs;
pub(crate) mod notification_channels;
pub(crate) mod notification_deliveries;
pub(crate) mod notification_threads;
pub(crate) mod pipelines;
pub(crate) mod projection_offsets;
pub(crate) mod queues;
pub(crate) mod rebuild;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod signals;
pub(crate) mod syncs;
pub(crate) mod task_runs;
