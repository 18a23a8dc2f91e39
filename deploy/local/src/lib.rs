//! Finds or starts a real PostgreSQL, Kafka and Airflow on this machine, for `cargo demo`, the tests and the
//! benchmarks. The crate holds no product logic.
//!
//! Many processes may call this crate at the same time. The services that it starts run until `cargo local
//! down`. All state is kept in the git-ignored `.local/`.

mod airflow;
mod bench;
mod certificates;
mod console;
mod demo;
mod env_file;
mod eventually;
mod kafka;
mod logs;
mod node;
mod oidc;
mod paths;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
mod product;
mod progress;
mod python;
mod receiver;
mod roles;
mod service;
mod settings;
mod status;
mod test_database;
mod tools;

pub use airflow::{
    AirflowApi, AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed, SeedRuns, airflow,
    airflow_command, airflow_instance, local_airflow, seed_airflow, seed_runs,
};
pub use bench::{Benchmark, bench};
pub use certificates::{Certificates, certificates, client_certificate};
pub use console::console;
pub use demo::{delay_next_start, demo};
pub use eventually::{eventually, eventually_true};
pub use kafka::{
    SecureKafka, kafka, kafka_instance, kafka_logs, proxied_kafka_instance, secure_kafka_instance,
};
pub use logs::show as logs;
pub use node::node_packages;
pub use oidc::{OidcProvider, oidc_provider};
pub use pgbouncer::pgbouncer;
pub use postgres::{ensure_database, local_postgres, postgres, postgres_instance, postgres_program};
pub use process::SuspendedProcesses;
pub use product::tested_binaries;
pub use progress::print;
pub use python::environment as python_environment;
pub use receiver::{Receiver, receiver, receiver_environment};
pub use roles::RoleUrls;
pub use service::LocalService;
pub use status::{Component, status, table};
pub use test_database::{TestDatabase, test_database, test_pool};
pub use tools::{cargo_program, program, program_of};
