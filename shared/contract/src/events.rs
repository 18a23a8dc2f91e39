//! Events: one struct per CloudEvents type, and the [`Record`] that carries an event on Kafka.
//!
//! Every state event is a complete snapshot of its entity. A consumer that keeps the event with the highest
//! `version` per id therefore holds the right state, whatever the order and the number of deliveries.

/// Implements [`Event`] from the fields that every event has. The methods that differ are passed in braces.
macro_rules! impl_event {
    ($event:ident, $topic:ident, $ce_type:literal, { $($methods:tt)* }) => {
        impl $crate::events::Event for $event {
            const TOPIC: $crate::topics::Topic = $crate::topics::Topic::$topic;
            const TYPE: &'static str = $ce_type;

            fn subject(&self) -> uuid::Uuid {
                self.id.0
            }
            fn space(&self) -> &str {
                &self.space
            }
            fn connector_id(&self) -> $crate::ids::ConnectorId {
                self.connector_id
            }
            fn observed_at(&self) -> DateTime<Utc> {
                self.observed_at
            }
            $($methods)*
        }
    };
    ($event:ident, $topic:ident, $ce_type:literal) => {
        impl_event!($event, $topic, $ce_type, {
            fn version(&self) -> i64 {
                self.version
            }
        });
    };
}

/// Implements [`Event`] and [`Observed`].
macro_rules! impl_observed {
    ($event:ident, $topic:ident, $ce_type:literal) => {
        impl_event!($event, $topic, $ce_type);

        impl $crate::events::Observed for $event {
            fn is_deleted(&self) -> bool {
                self.deleted
            }
            fn observation_mut(&mut self) -> (&mut i64, &mut DateTime<Utc>) {
                (&mut self.version, &mut self.observed_at)
            }
        }
    };
}

mod governance;
mod incident;
mod pipeline;
mod run;
mod run_conf;
mod sync;
mod task_run;

use std::io;

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::{ConnectorId, UserId};
pub use crate::topics::Topic;
use crate::trace::{TRACEPARENT, TraceContext};
pub use governance::{CommentChanged, GovernanceChanged, TeamRef};
pub use incident::{Acknowledgement, IncidentChanged};
pub use pipeline::{PipelineObserved, TaskNode};
pub use run::{MAX_CONF_NESTING, MAX_CONF_SIZE, MAX_CONF_VALUES, RunObserved};
pub use run_conf::RunConf;
pub use sync::{MAX_NAMED_UNREADABLE, SyncChanged, SyncReport, SyncRequested, UnreadableEntry};
pub use task_run::TaskRunObserved;

/// One type of message: its topic, its CloudEvents type, and the fields that identify it.
pub trait Event: Serialize + DeserializeOwned {
    /// The topic that the event is published on.
    const TOPIC: Topic;
    /// The CloudEvents `type`.
    const TYPE: &'static str;

    /// The id of the entity: the CloudEvents `subject`.
    fn subject(&self) -> Uuid;
    /// The slug of the space.
    fn space(&self) -> &str;
    /// The connector that the entity belongs to.
    fn connector_id(&self) -> ConnectorId;
    /// Orders the events of one entity. Two deliveries of the same event have the same version.
    fn version(&self) -> i64;
    /// When the state was observed: the CloudEvents `time`.
    fn observed_at(&self) -> DateTime<Utc>;

    /// The record's key, by which Kafka partitions and compacts.
    fn key(&self) -> Uuid {
        self.subject()
    }
}

/// A state event of the read model: the observed state of an entity at a provider.
pub trait Observed: Event + Clone {
    /// Whether the provider no longer has the entity.
    fn is_deleted(&self) -> bool;
    /// The fields that an [`Observation`] sets: the version and the time.
    fn observation_mut(&mut self) -> (&mut i64, &mut DateTime<Utc>);

    /// A hash of 16 bytes over everything but the observation: equal exactly when two events describe the
    /// same state.
    fn fingerprint(&self) -> Vec<u8> {
        let mut timeless = self.clone();
        let (version, observed_at) = timeless.observation_mut();
        (*version, *observed_at) = (0, DateTime::UNIX_EPOCH);
        let mut hash = HashWriter(Sha256::new());
        // No event fails to be serialized, and no hash to be written.
        let _ = serde_json::to_writer(&mut hash, &timeless);
        hash.0.finalize()[..16].to_vec()
    }
}

/// Hashes what is written, so that a large event is not copied as text.
struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The version and the time of one request to a provider. All entities on the page share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The version of every event that is made from the response.
    pub version: i64,
    /// When the request was sent, by our clock, in UTC.
    pub at: DateTime<Utc>,
}

/// The origin of events: the CloudEvents `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The space's slug.
    pub space: String,
    /// The connector that the events are read through.
    pub connector_id: ConnectorId,
}

/// A person, as events and answers name one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UserRef {
    /// The person's id.
    pub id: UserId,
    /// The name to show.
    pub name: String,
}

/// A Kafka message: CloudEvents 1.0 in binary mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic, without the prefix of an installation.
    pub topic: Topic,
    /// The key: a UUID.
    pub key: String,
    /// The CloudEvents attributes, as `ce_…` headers, and the `content-type`.
    pub headers: Vec<(String, String)>,
    /// The event as JSON.
    pub payload: Vec<u8>,
}

impl Record {
    /// Encodes an event.
    ///
    /// # Errors
    /// Only when the event cannot be serialized, which none of the contract's types allows.
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

    /// Adds the `traceparent` header. It is not part of the event: two deliveries of one event may differ in
    /// it.
    #[must_use]
    pub fn with_traceparent(mut self, trace: Option<TraceContext>) -> Self {
        self.headers.extend(trace.map(|trace| (TRACEPARENT.to_owned(), trace.to_string())));
        self
    }
}
