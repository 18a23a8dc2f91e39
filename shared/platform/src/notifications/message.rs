//! What a message says, as it is stored with its delivery. It contains neither a conf nor a secret.

use chrono::{DateTime, Utc};
use derive_more::Display;
use serde::{Deserialize, Serialize};
use strum::VariantArray;
use uuid::Uuid;

use contract::ids::{PipelineId, RunId};
use contract::state::Criticality;

/// What a message reports of an incident, the least urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, VariantArray, Serialize, Deserialize)]
#[derive(sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum MessageChange {
    /// A message that a user has requested to test a channel.
    Test,
    Resolved,
    Acknowledged,
    /// It is neither acknowledged nor resolved after hours.
    Repeated,
    /// It has counted another run.
    Updated,
    Reopened,
    Opened,
}

/// A message about the incidents of a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NotificationMessage {
    /// The slug of the space.
    pub space: String,
    pub at: DateTime<Utc>,
    /// Empty in a test.
    pub incidents: Vec<IncidentFacts>,
}

impl NotificationMessage {
    /// Returns the most urgent change of its incidents.
    pub fn change(&self) -> MessageChange {
        self.incidents.iter().map(|incident| incident.change).max().unwrap_or(MessageChange::Test)
    }
}

/// What a message says of one incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IncidentFacts {
    pub id: Uuid,
    pub change: MessageChange,
    pub kind: String,
    pub status: String,
    /// None for a connector's incident.
    pub pipeline: Option<PipelineFacts>,
    pub connector_name: String,
    pub criticality: Option<Criticality>,
    pub opened_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// The name of the user.
    pub acknowledged_by: Option<String>,
    pub count: i32,
    pub last_run_id: Option<RunId>,
    pub summary: String,
}

/// The pipeline of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PipelineFacts {
    pub id: PipelineId,
    pub name: String,
}
