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
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Sync connectors as they are due or asked for, and project events, until stopped
    Run(RunArgs),
    /// Run one sync of a connector in the foreground
    Sync(SyncArgs),
    /// Make the read model anew from the topics, beside the old one, and swap them
    Rebuild(RebuildArgs),
    /// Look at records that made no sense, or send them again
    #[command(subcommand)]
    DeadLetters(DeadLetters),
}

#[derive(Subcommand, Debug)]
pub enum DeadLetters {
    /// List the latest that were not sent again
    List(ListArgs),
    /// Send them to their topics again, after what was wrong has been mended
    Replay(ReplayArgs),
}

#[derive(Args, Debug)]
pub struct RebuildArgs {
    /// Go on though the topics lack what they once said; it is lost then
    #[arg(long)]
    pub accept_loss: bool,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Print JSON, an array
    #[arg(long)]
    pub json: bool,

    /// How many at most
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    pub most: i64,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// Which; all that were not sent again, if none is named
    pub ids: Vec<Uuid>,

    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub settings: Settings,

    /// Where to serve /health, /readyz and /metrics
    #[arg(long, env = "ORCHESTRATION_METRICS_LISTEN", default_value = "127.0.0.1:9464")]
    pub metrics_listen: SocketAddr,

    /// How many connectors are synced at a time; those whose source is silent do not count
    #[arg(long, env = "ORCHESTRATION_SYNCS_AT_ONCE", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
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

    /// How many seconds another worker may keep the connector from this one
    #[arg(long, default_value_t = 600)]
    pub wait_for_others: u64,

    #[command(flatten)]
    pub settings: Settings,
}

/// What every command needs.
#[derive(Args, Clone, Debug)]
pub struct Settings {
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
