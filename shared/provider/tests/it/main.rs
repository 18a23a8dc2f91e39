//! Tests of the public API of the provider, on responses recorded from real servers and on misbehaving
//! servers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where it panics")]

mod airflow_authentication;
mod airflow_failing_rows;
mod airflow_faults;
mod airflow_ids;
mod airflow_large_rows;
mod airflow_lists;
mod airflow_odd_rows;
mod airflow_parameters;
mod airflow_recorded;
mod airflow_retries;
mod airflow_scenario;
mod airflow_server;
mod airflow_time_zone;
mod airflow_trigger;
mod airflow_windows;
mod identity_provider;
