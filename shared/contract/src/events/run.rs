//! The state of a run at its provider.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{RunConf, UserRef};
use crate::ids::{ConnectorId, PipelineId, RunId};
use crate::state::{RunState, RunType};

/// The largest `conf` that an event carries, in bytes of JSON.
pub const MAX_CONF_SIZE: usize = 4 * 1024 * 1024;
/// How deep arrays and objects may be nested in a `conf`, itself included. Common decoders of JSON stop at
/// 127, of which an event and a response of the API need some.
pub const MAX_CONF_NESTING: usize = 100;
/// How many values a `conf` may have: decoded, each takes much more memory than its text. Commas and opening
/// brackets are counted.
pub const MAX_CONF_VALUES: usize = 50_000;

/// The state of a run: everything but its task runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunObserved {
    /// Derived from connector, pipeline and `external_id`: the same after every rebuild.
    pub id: RunId,
    /// The space's slug.
    pub space: String,
    /// The connector it was read through.
    pub connector_id: ConnectorId,
    /// The kind of provider: `airflow`.
    pub provider: String,
    /// The provider's own id, unique within its pipeline.
    pub external_id: String,
    /// Only grows for an `id`; the highest is the truth. Drawn from a sequence, with gaps.
    pub version: i64,
    /// When the provider was asked, in UTC.
    pub observed_at: DateTime<Utc>,
    #[doc = "Whether the provider no longer has it: this event is then the last word on its `id`, unless \
             it comes back."]
    #[serde(default)]
    pub deleted: bool,
    /// The pipeline it is a run of.
    pub pipeline_id: PipelineId,
    /// The provider's own id of the pipeline.
    pub pipeline_external_id: String,
    /// How it stands.
    pub status: RunState,
    /// The provider's own word for the status.
    pub provider_status: Option<String>,
    /// What made it.
    pub run_type: RunType,
    /// The date that it stands for, in UTC.
    pub logical_date: Option<DateTime<Utc>>,
    /// Where the data that it covers begins, in UTC.
    pub data_interval_start: Option<DateTime<Utc>>,
    /// Where the data that it covers ends, in UTC.
    pub data_interval_end: Option<DateTime<Utc>>,
    /// The earliest time it may start, in UTC.
    pub run_after: Option<DateTime<Utc>>,
    /// When it began to wait, in UTC.
    pub queued_at: Option<DateTime<Utc>>,
    /// When it began to run, in UTC.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended; null before, in UTC.
    pub ended_at: Option<DateTime<Utc>>,
    /// `ended_at` less `started_at`, in seconds.
    pub duration_seconds: Option<f64>,
    /// The parameters that it was given, an object; null if they are too large or cannot be read. Its numbers
    /// keep the digits that the provider wrote, which may be more than 64 bits hold.
    #[schemars(schema_with = "object_or_null")]
    pub conf: RunConf,
    /// The size of a `conf` that was left out, in bytes of JSON as the provider returned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf_bytes: Option<u64>,
    /// Whether `conf` was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// What somebody noted on it at the provider.
    pub note: Option<String>,
    /// Who triggered it through this service; null for every other run.
    #[serde(default)]
    pub triggered_by: Option<UserRef>,
    /// Its page at the provider.
    pub external_url: Option<String>,
}

fn object_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["object", "null"], "additionalProperties": true })
}

impl RunObserved {
    /// The time that runs are ordered by: when the run was due. None when the provider reports no time at
    /// all.
    pub fn ordered_at(&self) -> Option<DateTime<Utc>> {
        self.run_after.or(self.logical_date).or(self.queued_at).or(self.started_at)
    }
}

impl_observed!(RunObserved, Runs, "orchestration.run.observed.v1");
