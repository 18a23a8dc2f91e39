//! The request for a sync, and the state of a sync.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UserRef;
use crate::ids::{ConnectorId, SyncId};
use crate::state::{SyncStatus, SyncTrigger};

/// A command: sync this connector. Anyone who may write to the topic may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncRequested {
    /// The sender's choice; it becomes the sync's id. The same id twice is one request.
    pub id: SyncId,
    /// The connector to sync.
    pub connector_id: ConnectorId,
    /// Whether to read the whole history again rather than what changed.
    #[serde(default)]
    pub full: bool,
    /// Whether a full sync may deactivate more than a fifth of the connector's pipelines at once.
    #[serde(default)]
    pub accept_mass_deletion: bool,
    /// The space's slug. The connector's own space counts, whatever is written here.
    #[serde(default)]
    pub space: String,
    /// When it was asked for; when it was read, if left out.
    #[serde(default = "Utc::now")]
    #[schemars(transform = without_default)]
    pub observed_at: DateTime<Utc>,
}

/// The default is the present time, which a schema cannot express.
fn without_default(schema: &mut Schema) {
    schema.remove("default");
}

/// The state of a sync.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncChanged {
    /// The id of its request, or one made here for a scheduled sync.
    pub id: SyncId,
    /// The space's slug.
    pub space: String,
    /// The connector that is synced.
    pub connector_id: ConnectorId,
    /// Only grows for an `id`; the highest is the truth.
    pub version: i64,
    /// When it came to stand so, in UTC.
    pub observed_at: DateTime<Utc>,
    /// How it stands.
    pub status: SyncStatus,
    /// What asked for it.
    pub trigger: SyncTrigger,
    /// Whether it reads the whole history again rather than what changed.
    pub full: bool,
    /// Who asked for it; null for a schedule or a request from the topic.
    pub requested_by: Option<UserRef>,
    /// When it was asked for, in UTC.
    pub requested_at: DateTime<Utc>,
    /// When it began, in UTC.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended, well or not, in UTC.
    pub finished_at: Option<DateTime<Utc>>,
    /// What went wrong and what can be done about it, in one sentence.
    pub error: Option<String>,
    /// What it has done so far.
    pub report: SyncReport,
}

/// What a sync did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncReport {
    /// Requests sent to the provider.
    pub requests: u64,
    /// Pipelines that the provider listed.
    pub pipelines_seen: u64,
    /// Runs that the provider told of.
    pub runs_seen: u64,
    /// Task runs that the provider told of.
    pub task_runs_seen: u64,
    /// Events of pipelines, runs and task runs that Kafka acknowledged.
    pub events_published: u64,
    /// Pipelines found gone.
    pub pipelines_deactivated: u64,
}

impl_event!(SyncRequested, SyncRequests, "orchestration.sync.requested.v1", {
    /// A request is sent once.
    fn version(&self) -> i64 {
        1
    }
    /// Requests for one connector stay in order.
    fn key(&self) -> Uuid {
        self.connector_id.0
    }
});

impl_event!(SyncChanged, Syncs, "orchestration.sync.changed.v1");
