//! The newtypes of every id. What a provider names gets a UUIDv5 of its natural key, so that a rebuild from the topics
//! yields the same ids; what is born here gets a UUIDv7.

use derive_more::{Display, From, FromStr, Into};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Defines newtypes of [`Uuid`] that read and write as the UUID alone.
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
    /// A comment on a run or a task run.
    CommentId,
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
    /// The id of the pipeline that a connector's provider knows by this name.
    pub fn of(connector: ConnectorId, pipeline: &str) -> Self {
        Self(natural(connector, &["pipeline", pipeline]))
    }
}

impl RunId {
    /// The id of a pipeline's run, by the provider's names of both.
    pub fn of(connector: ConnectorId, pipeline: &str, run: &str) -> Self {
        Self(natural(connector, &["run", pipeline, run]))
    }
}

impl TaskRunId {
    /// The id of a task's run. `map_index` is -1 for a task that is not mapped.
    pub fn of(connector: ConnectorId, pipeline: &str, run: &str, task: &str, map_index: i32) -> Self {
        Self(natural(connector, &["task-run", pipeline, run, task, &map_index.to_string()]))
    }
}

/// Each part goes in behind its length, so that no two keys run together.
fn natural(connector: ConnectorId, parts: &[&str]) -> Uuid {
    let key: String = parts.iter().map(|part| format!("{}:{part};", part.len())).collect();
    Uuid::new_v5(&connector.0, key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_the_same_for_ever() {
        let connector = ConnectorId(Uuid::nil());
        insta::assert_snapshot!(PipelineId::of(connector, "daily_sales"), @"44616933-a47e-56c9-a6c8-8b532d905afa");
        insta::assert_snapshot!(RunId::of(connector, "daily_sales", "r1"), @"8caaf7bb-c967-59c4-9c82-366160b11134");
        insta::assert_snapshot!(TaskRunId::of(connector, "daily_sales", "r1", "extract", -1), @"dda780b0-e055-5111-8758-b326adff8fc8");
    }

    proptest! {
        #[test]
        fn different_names_have_different_ids(a in ".{0,8}", b in ".{0,8}", c in ".{0,8}", d in ".{0,8}") {
            let connector = ConnectorId(Uuid::nil());
            prop_assume!((&a, &b) != (&c, &d));
            prop_assert_ne!(RunId::of(connector, &a, &b), RunId::of(connector, &c, &d));
        }
    }
}
