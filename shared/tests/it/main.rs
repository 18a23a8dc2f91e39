//! What the shared crate promises to the two binaries and to other programs, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod airflow_faults;
mod airflow_lists;
mod airflow_recorded;
mod airflow_scenario;
mod airflow_stage;
mod airflow_trigger;
mod contract;
mod migrations;
