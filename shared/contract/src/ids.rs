//! Newtypes of all ids. An entity of a provider has a UUIDv5 of its natural key, so that a rebuild from the
//! topics yields the same ids. An entity created by this service has a UUIDv7.

use derive_more::{Display, From, FromStr, Into};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::state::IncidentKind;

/// Defines newtypes of [`Uuid`] that serialize as the plain UUID.
macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(Display, From, FromStr, Into, Serialize, Deserialize, JsonSchema)]
        #[cfg_attr(feature = "sqlx", derive(sqlx::Type), sqlx(transparent))]
        #[serde(transparent)]
        #[schemars(inline)]
        pub struct $name(pub Uuid);
    )*};
}

ids! {
    /// A space: the tenant that everything belongs to.
    SpaceId,
    /// A person who holds keys and is a member of spaces.
    UserId,
    /// A team of a space, the owner of pipelines.
    TeamId,
    /// An API key.
    KeyId,
    /// A browser session.
    SessionId,
    /// The mapping of a group to a role in a space.
    GroupMappingId,
    /// A comment on a run or a task run.
    CommentId,
    /// A channel that notifications are sent to.
    ChannelId,
    /// A rule that chooses the incidents of a channel.
    RuleId,
    /// A message to a channel.
    DeliveryId,
    /// An entry of a user's inbox.
    NotificationId,
    /// An incident of a pipeline or a connector.
    IncidentId,
    /// A connector: one provider instance that a space is synced from.
    ConnectorId,
    /// One sync of a connector.
    SyncId,
    /// A pipeline.
    PipelineId,
    /// A run of a pipeline.
    RunId,
    /// A run of one task, or of one mapped instance of it, within a run.
    TaskRunId,
}

impl PipelineId {
    /// Derives the id of a pipeline from its natural key. `pipeline` is the provider's id.
    pub fn of(connector: ConnectorId, pipeline: &str) -> Self {
        Self(natural_key_uuid(connector, &["pipeline", pipeline]))
    }
}

impl RunId {
    /// Derives the id of a run from its natural key. `pipeline` and `run` are the provider's ids.
    pub fn of(connector: ConnectorId, pipeline: &str, run: &str) -> Self {
        Self(natural_key_uuid(connector, &["run", pipeline, run]))
    }
}

impl TaskRunId {
    /// Derives the id of a task run from its natural key. `map_index` is -1 for a task that is not mapped.
    pub fn of(connector: ConnectorId, pipeline: &str, run: &str, task: &str, map_index: i32) -> Self {
        Self(natural_key_uuid(connector, &["task-run", pipeline, run, task, &map_index.to_string()]))
    }
}

impl IncidentId {
    /// Derives the id of an incident from its pipeline or connector, its kind, and the run or due time that
    /// opened it.
    pub fn of(subject: Uuid, kind: IncidentKind, opened_by: &str) -> Self {
        Self(Uuid::new_v5(&subject, format!("incident/{kind}/{opened_by}").as_bytes()))
    }
}

/// The UUIDv5 of a natural key. Each part is prefixed with its length, so that different keys cannot collide.
fn natural_key_uuid(connector: ConnectorId, parts: &[&str]) -> Uuid {
    let key: String = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
    Uuid::new_v5(&connector.0, key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_stable() {
        let connector = ConnectorId(Uuid::nil());
        let pipeline = PipelineId::of(connector, "daily_sales");
        insta::assert_snapshot!(pipeline, @"44616933-a47e-56c9-a6c8-8b532d905afa");
        let run = RunId::of(connector, "daily_sales", "r1");
        insta::assert_snapshot!(run, @"8caaf7bb-c967-59c4-9c82-366160b11134");
        let task_run = TaskRunId::of(connector, "daily_sales", "r1", "extract", -1);
        insta::assert_snapshot!(task_run, @"dda780b0-e055-5111-8758-b326adff8fc8");
    }

    proptest! {
        #[test]
        fn different_keys_have_different_ids(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}", d in ".{0,8}") {
            let connector = ConnectorId(Uuid::nil());
            prop_assume!((&a, &b) != (&c, &d));
            prop_assert_ne!(RunId::of(connector, &a, &b), RunId::of(connector, &c, &d));
        }
    }
}
