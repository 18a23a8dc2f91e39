//! The real PostgreSQL, Kafka and Airflow on this machine, found or started when somebody needs them: by
//! `cargo demo`, by the tests and by the benchmarks alike. Holds no product logic.
//!
//! Everything here may be called by many processes at the same time. What it starts goes on running until
//! `cargo local down`. State lies in the git-ignored `.local/`.

mod airflow;
mod bench;
mod certificates;
mod demo;
mod env_file;
mod kafka;
mod logs;
mod paths;
mod ports;
mod postgres;
mod process;
mod product;
mod progress;
mod python;
mod roles;
mod service;
mod settings;
mod status;
mod test_database;
mod tools;

pub use airflow::{
    AirflowApi, AirflowRole, AirflowServer, AirflowSetup, AirflowVersion, Seed, airflow, airflow_command,
    airflow_instance, local_airflow, seed_airflow,
};
pub use bench::{Benchmark, bench};
pub use certificates::{Certificates, certificates};
pub use demo::demo;
pub use kafka::{SecureKafka, kafka, kafka_instance, secure_kafka_instance};
pub use logs::show as logs;
pub use postgres::{ensure_database, local_postgres, postgres, postgres_instance, postgres_program};
pub use product::tested_binaries;
pub use progress::print;
pub use python::environment as python_environment;
pub use roles::RoleUrls;
pub use service::LocalService;
pub use status::{Component, status, table};
pub use test_database::{TestDatabase, test_database, test_pool};
pub use tools::{program, program_of};
