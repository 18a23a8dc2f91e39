//! What a space may use: how many connectors, how often each polls, and how fast.

use clap::Args;
use provider::connector::ConnectorConfig;

/// The quotas of every space. Connectors that exceed one are kept as they are until they are changed.
#[derive(Args, Clone, Copy, Debug)]
pub struct ConnectorQuotas {
    /// Maximum number of connectors of a space; 0 for no limit
    #[arg(long, env = "ORCHESTRATION_MAX_CONNECTORS", default_value_t = 0)]
    pub max_connectors: u32,

    /// Minimum interval between two scheduled polls of a connector, in seconds
    #[arg(long, env = "ORCHESTRATION_MIN_POLL_INTERVAL", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub min_poll_interval: u32,

    /// The largest max_requests_per_second that a connector may have
    #[arg(long, env = "ORCHESTRATION_MAX_REQUESTS_PER_SECOND", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_requests_per_second: u16,
}

impl ConnectorQuotas {
    /// The `max_requests_per_second` of a connector that is created without one.
    pub fn default_requests_per_second(&self) -> i64 {
        ConnectorConfig::default_max_requests_per_second().min(self.max_requests_per_second).into()
    }
}

impl Default for ConnectorQuotas {
    fn default() -> Self {
        Self { max_connectors: 0, min_poll_interval: 1, max_requests_per_second: 1000 }
    }
}
