//! The worker's command line: every setting has a flag and an environment variable.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};
use contract::ids::ConnectorId;
use platform::db::DatabaseConfig;
use platform::kafka::KafkaConfig;
use platform::secrets::SealingConfig;
use platform::telemetry::LogConfig;
use provider::NetworkPolicy;
use uuid::Uuid;

use crate::retention::RetentionConfig;

/// Polls Airflow, publishes what changed to Kafka and projects it into PostgreSQL.
#[derive(Parser, Debug)]
#[command(name = "orchestration-worker", version)]
pub struct WorkerCli {
    #[command(subcommand)]
    pub command: WorkerCommand,
}

#[derive(Subcommand, Debug)]
pub enum WorkerCommand {
    /// Sync connectors as they are due or requested, and project events, until stopped
    Run(RunArgs),
    /// Run one sync of a connector in the foreground
    Sync(SyncArgs),
    /// Rebuild the read model from the topics, beside the old one, and swap them
    Rebuild(RebuildArgs),
    /// List records that could not be applied, or send them again
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
}

#[derive(Subcommand, Debug)]
pub enum DeadLettersCommand {
    /// List the latest dead letters that were not sent again
    List(ListArgs),
    /// Send dead letters to their topics again, after their cause was fixed
    Replay(ReplayArgs),
}

#[derive(Args, Debug)]
pub struct RebuildArgs {
    /// Rebuild although the topics lack records that rows were read from; these rows are lost
    #[arg(long)]
    pub accept_loss: bool,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,

    /// The maximum number of dead letters
    #[arg(
        long,
        alias = "most",
        default_value_t = 100,
        value_parser = clap::value_parser!(i64).range(1..=10_000)
    )]
    pub limit: i64,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Ids of dead letters; without any, all that were not sent again
    pub ids: Vec<Uuid>,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub settings: WorkerSettings,

    /// Where to serve /health, /readyz and /metrics
    #[arg(long, env = "ORCHESTRATION_METRICS_LISTEN", default_value = "127.0.0.1:9464")]
    pub metrics_listen: SocketAddr,

    /// How many connectors are synced at a time; those whose provider does not answer do not count
    #[arg(
        long,
        env = "ORCHESTRATION_SYNCS_AT_ONCE",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub syncs_at_once: u16,

    #[command(flatten)]
    pub retention: RetentionConfig,
}

#[derive(Args, Debug)]
pub struct SyncArgs {
    /// The connector's id
    pub connector: ConnectorId,

    /// Read the whole history again, and find what was deleted
    #[arg(long)]
    pub full: bool,

    /// With --full: let more than a fifth of the pipelines be deactivated at once
    #[arg(long, requires = "full")]
    pub accept_mass_deletion: bool,

    /// How many seconds to wait for another worker's lease on the connector
    #[arg(long, alias = "wait-for-others", default_value_t = 600)]
    pub lease_timeout: u64,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

/// The settings of every command.
#[derive(Args, Clone, Debug)]
pub struct WorkerSettings {
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub sealing: SealingConfig,
    #[command(flatten)]
    pub network: NetworkPolicy,
    #[command(flatten)]
    pub log: LogConfig,
}
