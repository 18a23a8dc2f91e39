//! The request for a sync, and the state of a sync.

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::UserRef;
use crate::ids::{ConnectorId, SyncId};
use crate::state::{EntityKind, SyncStatus, SyncTrigger};

/// The number of unreadable rows that are named; the others are counted.
pub const MAX_NAMED_UNREADABLE: usize = 20;
/// In characters, of the id and the reason of an unreadable row.
const MAX_UNREADABLE_LENGTH: usize = 300;

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

/// A row of the provider that could not be read, or only in part: the fields that its reason names are then
/// missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnreadableEntry {
    /// What the row describes.
    pub what: EntityKind,
    /// The provider's own id, as far as it is known.
    pub id: String,
    /// The fields that could not be read, and why. Contains none of their values.
    pub reason: String,
}

impl UnreadableEntry {
    /// Cuts the id and the reason to a bounded length, and replaces NUL, which PostgreSQL does not store.
    pub fn new(what: EntityKind, id: &str, reason: &str) -> Self {
        let cut = |text: &str| {
            let (kept, end) = match text.char_indices().nth(MAX_UNREADABLE_LENGTH) {
                Some((end, _)) => (&text[..end], "…"),
                None => (text, ""),
            };
            kept.replace('\0', "\u{fffd}") + end
        };
        Self { what, id: cut(id), reason: cut(reason) }
    }
}

/// What a sync did, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SyncReport {
    /// Requests sent to the provider.
    pub requests: u64,
    /// Pipelines that the provider listed.
    pub pipelines_seen: u64,
    /// Runs that the provider returned.
    pub runs_seen: u64,
    /// Task runs that the provider returned.
    pub task_runs_seen: u64,
    /// Events of pipelines, runs and task runs that Kafka acknowledged.
    pub events_published: u64,
    /// Pipelines found gone.
    pub pipelines_deactivated: u64,
    /// Rows of the provider that could not be read, or only in part. The sync succeeds without them.
    pub unreadable_count: u64,
    /// The first of these rows, at most 20.
    pub unreadable: Vec<UnreadableEntry>,
}

impl SyncReport {
    /// Adds rows that could not be read: names the first ones and counts them all.
    pub fn add_unreadable(&mut self, entries: impl IntoIterator<Item = UnreadableEntry>, count: u64) {
        self.unreadable_count += count;
        let free = MAX_NAMED_UNREADABLE.saturating_sub(self.unreadable.len());
        self.unreadable.extend(entries.into_iter().take(free));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_row_has_a_bounded_text_that_can_be_stored() {
        let entry = UnreadableEntry::new(EntityKind::Run, "a\0b", &"ß".repeat(1_000));
        assert_eq!(entry.id, "a\u{fffd}b");
        assert_eq!(entry.reason, "ß".repeat(MAX_UNREADABLE_LENGTH) + "…");
    }

    #[test]
    fn the_first_unreadable_rows_are_named_and_all_are_counted() {
        let entry = |row: u32| UnreadableEntry::new(EntityKind::Run, &row.to_string(), "odd");
        let mut report = SyncReport::default();
        report.add_unreadable((0..15).map(entry), 15);
        report.add_unreadable((15..30).map(entry), 40);
        assert_eq!(report.unreadable, Vec::from_iter((0..20).map(entry)));
        assert_eq!(report.unreadable_count, 55);
    }
}
