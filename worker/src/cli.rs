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

use crate::notifications::SenderConfig;
use crate::retention::RetentionConfig;

/// Polls Airflow, publishes what changed to Kafka and projects it into PostgreSQL.
#[derive(Parser, Debug)]
#[command(name = "orchestration-worker", version = platform::version())]
pub struct WorkerCli {
    #[command(subcommand)]
    pub command: WorkerCommand,
}

#[derive(Subcommand, Debug)]
pub enum WorkerCommand {
    /// Sync connectors as they are due or requested, and project events, until stopped
    Run(Box<RunArgs>),
    /// Run one sync of a connector in the foreground
    Sync(SyncArgs),
    /// Build a new read model from the topics, and replace the old one with it
    Rebuild(RebuildArgs),
    /// Replay the history, and print the signals that it would have given
    Backtest(BacktestArgs),
    /// Publish everything that Airflow still has once more, after Kafka or its topics were lost
    Republish(RepublishArgs),
    /// List, replay or discard records that could not be applied
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
}

#[derive(Subcommand, Debug)]
pub enum DeadLettersCommand {
    /// List the latest dead letters that were not replayed
    List(ListArgs),
    /// Send dead letters to their topics again, after their cause has been fixed
    Replay(ReplayArgs),
    /// Close dead letters without sending them again
    Discard(DiscardArgs),
}

#[derive(Args, Debug)]
pub struct RebuildArgs {
    /// Rebuild even if the topics no longer have the records of some rows; these rows are lost
    #[arg(long)]
    pub accept_loss: bool,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct BacktestArgs {
    /// How many days of the history are judged; the 43 days before them are learned
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub days: u16,

    /// Seconds between two polls of the provider, the margin of late starts
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub poll_interval: u16,

    /// How many of the pipelines with most signals are printed
    #[arg(long, default_value_t = 10)]
    pub worst: usize,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct RepublishArgs {
    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,

    /// Maximum number of dead letters
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
    /// Ids of dead letters (default: all that were not replayed)
    pub ids: Vec<Uuid>,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct DiscardArgs {
    /// Ids of dead letters
    #[arg(required = true)]
    pub ids: Vec<Uuid>,

    /// Why they are not worth a replay, for those who look later
    #[arg(long, value_parser = parse_reason)]
    pub reason: String,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

#[derive(Args, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub settings: WorkerSettings,

    /// Address and port of /health, /readyz and /metrics
    #[arg(long, env = "ORCHESTRATION_METRICS_LISTEN", default_value = "127.0.0.1:9464")]
    pub metrics_listen: SocketAddr,

    /// Maximum number of concurrent syncs, without those whose provider does not respond
    #[arg(
        long,
        env = "ORCHESTRATION_SYNCS_AT_ONCE",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub syncs_at_once: u16,

    #[command(flatten)]
    pub retention: RetentionConfig,

    #[command(flatten)]
    pub notifications: SenderConfig,
}

#[derive(Args, Debug)]
pub struct SyncArgs {
    /// The connector's id
    pub connector: ConnectorId,

    /// Read the whole history again, and detect deletions
    #[arg(long)]
    pub full: bool,

    /// With --full: permit the deactivation of more than a fifth of the pipelines at once
    #[arg(long, requires = "full")]
    pub accept_mass_deletion: bool,

    /// Maximum wait for another worker's lease on the connector, in seconds
    #[arg(long, alias = "wait-for-others", default_value_t = 600)]
    pub lease_timeout: u64,

    #[command(flatten)]
    pub settings: WorkerSettings,
}

fn parse_reason(text: &str) -> Result<String, &'static str> {
    let reason = text.trim();
    if reason.is_empty() { Err("say why, in a few words") } else { Ok(reason.to_owned()) }
}

/// The settings of every command.
#[derive(Args, Clone, Debug)]
pub struct WorkerSettings {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Maximum number of open connections to PostgreSQL for leases, schedules, projection and outbox, besides
    /// those of syncs
    #[arg(
        long,
        env = "ORCHESTRATION_CONTROL_CONNECTIONS",
        default_value_t = 6,
        value_parser = clap::value_parser!(u32).range(5..=1000)
    )]
    pub control_connections: u32,

    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub sealing: SealingConfig,
    #[command(flatten)]
    pub network: NetworkPolicy,
    #[command(flatten)]
    pub log: LogConfig,

    /// How far before the previous poll's beginning a poll looks for changes, in seconds: more than the
    /// clocks of Airflow's hosts differ, and more than its longest transactions take
    #[arg(
        long,
        env = "ORCHESTRATION_POLL_OVERLAP",
        default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    pub poll_overlap: u16,
}
