//! The event contract: what is said on which topic, and how it is wrapped. Kafka and SQL are not known here.
//!
//! Every state event is a complete picture of its entity, so a consumer that keeps the highest `version` per id has
//! the right state whatever the order or number of deliveries.

mod pipeline;
mod run;
mod sync;
mod task_run;
pub mod topic;

use chrono::{DateTime, SecondsFormat, Utc};
pub use pipeline::{PipelineObserved, TaskNode};
pub use run::RunObserved;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
pub use sync::{SyncChanged, SyncReport, SyncRequested};
pub use task_run::TaskRunObserved;
pub use topic::Topic;
use uuid::Uuid;

use crate::ids::{ConnectorId, UserId};
use crate::trace::{TRACEPARENT, Trace};

/// One kind of message: its topic, its CloudEvents type, and where its identity is found.
pub trait Event: Serialize + DeserializeOwned {
    const TOPIC: Topic;
    /// The CloudEvents `type`.
    const TYPE: &'static str;

    /// The id of the entity: the CloudEvents `subject`.
    fn subject(&self) -> Uuid;
    fn space(&self) -> &str;
    fn connector_id(&self) -> ConnectorId;
    /// Tells two messages about one entity apart; equal for the same one sent twice.
    fn version(&self) -> i64;
    fn observed_at(&self) -> DateTime<Utc>;

    /// The record's key, by which Kafka orders and compacts.
    fn key(&self) -> Uuid {
        self.subject()
    }
}

/// A state event of the read model: an entity that a provider holds.
pub trait Observed: Event + Clone {
    fn is_deleted(&self) -> bool;
    fn observation_mut(&mut self) -> (&mut i64, &mut DateTime<Utc>);

    /// Sixteen bytes that two observations share exactly when they say the same thing, whenever each was made.
    fn fingerprint(&self) -> Vec<u8> {
        let mut timeless = self.clone();
        let (version, observed_at) = timeless.observation_mut();
        (*version, *observed_at) = (0, DateTime::UNIX_EPOCH);
        let said = serde_json::to_vec(&timeless).unwrap_or_default();
        Sha256::digest(said)[..16].to_vec()
    }
}

/// When a page was asked for: the version every entity on it gets, and our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    pub version: i64,
    pub at: DateTime<Utc>,
}

/// Whose events these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The space's slug.
    pub space: String,
    pub connector_id: ConnectorId,
}

/// A person, as events and answers name one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
pub struct UserRef {
    /// The person's id.
    pub id: UserId,
    /// The name to show.
    pub name: String,
}

/// A message ready for Kafka: CloudEvents 1.0 in binary mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub topic: Topic,
    pub key: String,
    pub headers: Vec<(String, String)>,
    pub payload: Vec<u8>,
}

impl Record {
    /// Wraps an event.
    ///
    /// # Errors
    /// Only when the event does not serialize, which the types rule out short of memory.
    pub fn of<E: Event>(event: &E) -> Result<Self, serde_json::Error> {
        let ce_id = Uuid::new_v5(&event.subject(), format!("{}/{}", E::TYPE, event.version()).as_bytes());
        let headers = [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", ce_id.to_string()),
            ("ce_source", format!("/spaces/{}/connectors/{}", event.space(), event.connector_id())),
            ("ce_type", E::TYPE.to_owned()),
            ("ce_subject", event.subject().to_string()),
            ("ce_time", event.observed_at().to_rfc3339_opts(SecondsFormat::Micros, true)),
            ("content-type", "application/json".to_owned()),
        ];
        Ok(Self {
            topic: E::TOPIC,
            key: event.key().to_string(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            payload: serde_json::to_vec(event)?,
        })
    }

    /// With what led to it in a header of its own: no part of the event, which is the same whoever asked.
    #[must_use]
    pub fn with_traceparent(mut self, trace: Option<Trace>) -> Self {
        self.headers.extend(trace.map(|trace| (TRACEPARENT.to_owned(), trace.to_string())));
        self
    }
}
