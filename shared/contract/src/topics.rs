//! The Kafka topics of the contract and the configuration that each requires. `platform::kafka` creates and
//! checks them.

use derive_more::Display;
use serde::{Deserialize, Serialize};

/// A topic of the contract. It displays as its name, without the prefix of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, Serialize, Deserialize)]
pub enum Topic {
    /// State events of pipelines.
    #[display("orchestration.pipelines.v1")]
    #[serde(rename = "orchestration.pipelines.v1")]
    Pipelines,
    /// State events of runs.
    #[display("orchestration.runs.v1")]
    #[serde(rename = "orchestration.runs.v1")]
    Runs,
    /// State events of task runs.
    #[display("orchestration.task-runs.v1")]
    #[serde(rename = "orchestration.task-runs.v1")]
    TaskRuns,
    /// State events of syncs.
    #[display("orchestration.syncs.v1")]
    #[serde(rename = "orchestration.syncs.v1")]
    Syncs,
    /// What spaces decide about their pipelines.
    #[display("orchestration.governance.v1")]
    #[serde(rename = "orchestration.governance.v1")]
    Governance,
    /// Comments on runs, task runs and incidents.
    #[display("orchestration.comments.v1")]
    #[serde(rename = "orchestration.comments.v1")]
    Comments,
    /// Incidents of pipelines and connectors.
    #[display("orchestration.incidents.v1")]
    #[serde(rename = "orchestration.incidents.v1")]
    Incidents,
    /// Commands: requests for a sync.
    #[display("orchestration.sync-requests.v1")]
    #[serde(rename = "orchestration.sync-requests.v1")]
    SyncRequests,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 8] = [
        Self::Pipelines,
        Self::Runs,
        Self::TaskRuns,
        Self::Syncs,
        Self::Governance,
        Self::Comments,
        Self::Incidents,
        Self::SyncRequests,
    ];
    /// The topics that the read model is projected from.
    pub const STATE: [Self; 3] = [Self::Pipelines, Self::Runs, Self::TaskRuns];

    /// The topic configuration that the contract relies on, as Kafka's setting names and values.
    pub fn config(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::SyncRequests => &[("cleanup.policy", "delete"), ("retention.ms", "604800000")],
            _ => &[("cleanup.policy", "compact")],
        }
    }
}
