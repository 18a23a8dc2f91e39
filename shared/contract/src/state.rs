//! The enumerations of the contract: states, types and ranks, with the same values in events, in PostgreSQL
//! and in the API. Each provider's `normalize` maps its own values to these.

use derive_more::Display;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "documented variants would change the JSON Schema")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "documented variants would change the JSON Schema")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "documented variants would change the JSON Schema")]
pub enum RunType {
    Scheduled,
    Manual,
    Backfill,
    AssetTriggered,
    /// A word of the provider that is not known here.
    #[serde(other)]
    Unknown,
}

/// The criticality of a pipeline, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum Criticality {
    /// The lowest.
    Low,
    /// Above low.
    Medium,
    /// Above medium.
    High,
    /// The highest.
    Critical,
}

/// The role of a member in a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum TeamRole {
    /// Belongs to the team.
    Member,
    /// Manages the team; a team has one at most.
    Manager,
}

/// The role of a member in a space, least first. A higher role includes the rights of the lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, triggers, comments and classifies pipelines.
    Editor,
    /// May do everything, connectors and teams included.
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
#[expect(missing_docs, reason = "documented variants would change the JSON Schema")]
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

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
#[strum(serialize_all = "snake_case")]
pub enum IncidentKind {
    /// The latest finished run of the pipeline failed.
    Failing,
    /// A run was due and has not started.
    LateStart,
    /// A run should have ended and has not.
    LateFinish,
    /// A run takes longer than its predecessors.
    Slow,
    /// The connector was not synced for several intervals of its schedule.
    ConnectorStale,
}

/// The status of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "documented variants would change the JSON Schema")]
pub enum IncidentStatus {
    Open,
    Acknowledged,
    Resolved,
}

/// How a pipeline is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, VariantArray)]
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[display(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "text", rename_all = "snake_case"))]
pub enum Health {
    /// Nothing is wrong.
    Ok,
    /// A run takes longer than its predecessors.
    Slow,
    /// A run has not started or ended in time.
    Late,
    /// The latest finished run failed.
    Failing,
    /// The pipeline has never run, or its connector is stale.
    Unknown,
}

/// What a row of a provider describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr)]
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = open_vocabulary)]
#[display(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "documented variants would change the JSON Schema")]
pub enum EntityKind {
    Pipeline,
    Run,
    TaskRun,
    /// A word of a later release.
    #[serde(other)]
    Unknown,
}

impl EntityKind {
    /// All that this release has.
    pub const KNOWN: [Self; 3] = [Self::Pipeline, Self::Run, Self::TaskRun];
}

/// Marks an enumeration in a schema as open: later releases may add values, which readers treat as `unknown`.
fn open_vocabulary(schema: &mut Schema) {
    let mut words = schema.remove("oneOf").and_then(|words| words.as_array().cloned()).unwrap_or_default();
    words.push(
        json!({ "type": "string", "description": "A word that a later release adds: read it as `unknown`." }),
    );
    schema.insert("anyOf".to_owned(), words.into());
}

/// Stores open vocabularies as `text`. A value that a later release wrote is read as `Unknown`, as in events.
#[cfg(feature = "sqlx")]
macro_rules! open_text_column {
    ($($name:ident),*) => {$(
        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <&str as sqlx::Type<sqlx::Postgres>>::type_info()
            }

            fn compatible(column: &sqlx::postgres::PgTypeInfo) -> bool {
                <&str as sqlx::Type<sqlx::Postgres>>::compatible(column)
            }
        }

        impl sqlx::Encode<'_, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                sqlx::Encode::<sqlx::Postgres>::encode(<&str>::from(*self), buffer)
            }
        }

        impl<'r> sqlx::Decode<'r, sqlx::Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
                let word = <&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?;
                Ok(word.parse().unwrap_or(Self::Unknown))
            }
        }
    )*};
}

#[cfg(feature = "sqlx")]
open_text_column!(RunState, TaskState, RunType);
