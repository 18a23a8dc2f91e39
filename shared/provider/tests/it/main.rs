//! The provider as its callers see it, on bodies recorded from real servers and on servers that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod airflow_faults;
mod airflow_lists;
mod airflow_recorded;
mod airflow_scenario;
mod airflow_stage;
mod airflow_trigger;
