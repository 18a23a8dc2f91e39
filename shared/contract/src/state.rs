//! The vocabulary of the contract: states, kinds and ranks, as they stand in events, in PostgreSQL and in the API.
//! Which provider's word becomes which of these is for that provider's `normalize` to say.

use derive_more::Display;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use strum::{IntoStaticStr, VariantArray};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
#[strum(serialize_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    Success,
    Failed,
    /// A word of the provider that is not known here.
    #[serde(other)]
    Unknown,
}

impl RunState {
    /// Whether the provider will not change it by itself any more.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// How a task run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
#[strum(serialize_all = "snake_case")]
pub enum TaskState {
    Pending,
    Scheduled,
    Queued,
    Running,
    Success,
    Failed,
    Retrying,
    Skipped,
    UpstreamFailed,
    Deferred,
    Removed,
    /// A word of the provider that is not known here.
    #[serde(other)]
    Unknown,
}

/// What made a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum RunType {
    Scheduled,
    Manual,
    Backfill,
    AssetTriggered,
    /// A word of the provider that is not known here.
    #[serde(other)]
    Unknown,
}

/// How much a pipeline matters to its space, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum Criticality {
    Low,
    Medium,
    High,
    Critical,
}

/// What a member may do in a space, least first: a higher role may all that a lower one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum Role {
    Viewer,
    Editor,
    Admin,
}

/// How a sync stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
#[strum(serialize_all = "snake_case")]
pub enum SyncStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
}

/// What asked for a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum SyncTrigger {
    /// The connector's own schedule.
    Schedule,
    /// A person or a program that asked.
    Manual,
    /// A run that was triggered here and is followed to its end.
    Trigger,
}

/// Says in a schema that words may be added: a reader takes one that it does not know for `unknown`.
fn open_vocabulary(schema: &mut Schema) {
    let mut words = schema.remove("oneOf").and_then(|words| words.as_array().cloned()).unwrap_or_default();
    words.push(
        json!({ "type": "string", "description": "A word that a later release adds: read it as `unknown`." }),
    );
    schema.insert("anyOf".to_owned(), words.into());
}
