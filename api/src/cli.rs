//! The command line and the settings: a flag and an environment variable each. `--help` is their reference.

use std::net::SocketAddr;

use axum::http::HeaderValue;
use clap::{Args, Parser, Subcommand};
use platform::db::{DatabaseConfig, Roles};
use platform::kafka::KafkaConfig;
use platform::secrets::SealingConfig;
use platform::telemetry::LogConfig;
use provider::NetworkPolicy;
use url::Url;

use crate::auth::client_address::TrustedProxies;
use crate::auth::sessions::SessionConfig;
use crate::commands::AdminCommand;
use crate::oidc::config::OidcConfig;
use crate::store::connectors::ConnectorQuotas;
use crate::stream::StreamConfig;

/// Serves and administers Orchestration.
#[derive(Parser, Debug)]
#[command(name = "orchestration-api", version = platform::version())]
pub struct Cli {
    /// Print JSON: an object for a single item, an array for a list
    #[arg(long, global = true)]
    pub json: bool,

    #[command(subcommand)]
    pub command: ApiCommand,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum ApiCommand {
    /// Serve HTTP requests until stopped
    Serve(Box<ServeConfig>),

    /// Migrate the database schema, and grant the worker's and the API's roles their privileges
    Migrate(MigrateConfig),

    /// Prepare a restored database, before any program starts: new observations of Airflow get higher
    /// versions than everything that was published since the backup
    AfterRestore(DatabaseConfig),

    /// Publish governance, comments and incidents once more, after Kafka or its topics were lost
    Republish(DatabaseConfig),

    #[command(flatten)]
    Admin(AdminCommand),
}

/// The database to migrate, and the roles to grant rights to.
#[derive(Args, Clone, Debug)]
pub struct MigrateConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub roles: Roles,

    /// How long to wait for a PostgreSQL that does not answer yet, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub wait: u32,
}

/// The settings of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeConfig {
    /// Address and port to listen on
    #[arg(long, env = "ORCHESTRATION_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address and port of /metrics, /health and /readyz for the cluster; without it, /metrics is served with
    /// the API
    #[arg(long, env = "ORCHESTRATION_API_METRICS_LISTEN")]
    pub metrics_listen: Option<SocketAddr>,

    /// Maximum number of requests per key and minute, over all replicas; 0 for no limit
    #[arg(long, env = "ORCHESTRATION_RATE_LIMIT_PER_MINUTE", default_value_t = 600)]
    pub rate_limit_per_minute: u32,

    /// Maximum number of requests per key and hour, over all replicas; 0 for no limit
    #[arg(long, env = "ORCHESTRATION_RATE_LIMIT_PER_HOUR", default_value_t = 20_000)]
    pub rate_limit_per_hour: u32,

    /// Permitted CORS origins, separated by commas, each scheme://host
    #[arg(long, env = "ORCHESTRATION_CORS_ORIGINS", value_delimiter = ',', value_parser = parse_origin)]
    pub cors_origins: Vec<HeaderValue>,

    /// Networks of the reverse proxies before the API, with commas between them, such as 10.20.0.0/16: the
    /// client of a request from there is the last address in X-Forwarded-For that is in none of them
    #[arg(long, env = "ORCHESTRATION_TRUSTED_PROXIES", default_value = "", hide_default_value = true)]
    #[arg(value_parser = TrustedProxies::parse)]
    pub trusted_proxies: TrustedProxies,

    /// Timeout of a request, in seconds
    #[arg(long, env = "ORCHESTRATION_REQUEST_TIMEOUT", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=600))]
    pub request_timeout: u16,

    /// Maximum number of open connections of clients; more get a 503
    #[arg(long, env = "ORCHESTRATION_CONNECTIONS", default_value_t = 4_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub connections: u32,

    /// Seconds for which an idle connection is kept open; longer than your load balancer uses one again
    #[arg(long, env = "ORCHESTRATION_IDLE_TIMEOUT", default_value_t = 75)]
    #[arg(value_parser = clap::value_parser!(u16).range(5..=3600))]
    pub idle_timeout: u16,

    /// Maximum size of a trigger's body, in bytes; other bodies have at most 64 KiB
    #[arg(long, env = "ORCHESTRATION_BODY_LIMIT", default_value_t = 1_048_576)]
    #[arg(value_parser = clap::value_parser!(u32).range(1024..=67_108_864))]
    pub body_limit: u32,

    /// Seconds to continue serving after SIGTERM while /readyz fails, so that load balancers stop routing
    /// first
    #[arg(long, env = "ORCHESTRATION_DRAIN_SECONDS", default_value_t = 2)]
    #[arg(value_parser = clap::value_parser!(u16).range(0..=10))]
    pub drain_seconds: u16,

    /// Timeout of one SQL statement of a request, in seconds; ORCHESTRATION_STATEMENT_TIMEOUT if that is
    /// shorter
    #[arg(long, env = "ORCHESTRATION_API_STATEMENT_TIMEOUT", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600))]
    pub api_statement_timeout: u32,

    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(flatten)]
    pub kafka: KafkaConfig,
    #[command(flatten)]
    pub sealing: SealingConfig,
    #[command(flatten)]
    pub network: NetworkPolicy,
    #[command(flatten)]
    pub quotas: ConnectorQuotas,
    #[command(flatten)]
    pub sessions: SessionConfig,
    #[command(flatten)]
    pub oidc: OidcConfig,
    #[command(flatten)]
    pub stream: StreamConfig,
    #[command(flatten)]
    pub log: LogConfig,
}

/// Parses an origin in the form in which browsers send it: scheme, host and port.
fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let advice = "an origin is a scheme, a host and perhaps a port, like https://ui.example.org:8443";
    let origin = Url::parse(text).map_err(|_| advice)?.origin();
    if !origin.is_tuple() || origin.ascii_serialization() != text {
        return Err(advice.to_owned());
    }
    HeaderValue::from_str(text).map_err(|_| advice.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn only_serialized_origins_are_accepted() {
        assert!(parse_origin("https://ui.example.org").is_ok());
        for bad in ["", "*", "ui.example.org", "https://ui.example.org/", "https://UI.example.org", "null"] {
            assert!(parse_origin(bad).is_err(), "{bad:?}");
        }
    }
}
