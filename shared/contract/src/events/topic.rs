//! The topics and what each must be configured as. Making and checking them is for `kafka`.

use derive_more::Display;
use serde::{Deserialize, Serialize};

/// A topic of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, Serialize, Deserialize)]
pub enum Topic {
    #[display("orchestration.pipelines.v1")]
    #[serde(rename = "orchestration.pipelines.v1")]
    Pipelines,
    #[display("orchestration.runs.v1")]
    #[serde(rename = "orchestration.runs.v1")]
    Runs,
    #[display("orchestration.task-runs.v1")]
    #[serde(rename = "orchestration.task-runs.v1")]
    TaskRuns,
    #[display("orchestration.syncs.v1")]
    #[serde(rename = "orchestration.syncs.v1")]
    Syncs,
    #[display("orchestration.sync-requests.v1")]
    #[serde(rename = "orchestration.sync-requests.v1")]
    SyncRequests,
}

impl Topic {
    pub const ALL: [Self; 5] = [Self::Pipelines, Self::Runs, Self::TaskRuns, Self::Syncs, Self::SyncRequests];
    /// The topics that the read model is made of.
    pub const STATE: [Self; 3] = [Self::Pipelines, Self::Runs, Self::TaskRuns];

    /// The configuration without which the contract does not hold, by Kafka's own names.
    pub fn config(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SyncRequests => &[("cleanup.policy", "delete"), ("retention.ms", "604800000")],
            _ => &[("cleanup.policy", "compact")],
        }
    }
}
