//! The audit log of actions and their actors. An entry is inserted in the transaction of the action itself,
//! and contains no secret.

use derive_more::Display;
use serde_json::{Value, json};
use sqlx::PgConnection;
use strum::VariantArray;
use uuid::Uuid;

use contract::ids::{ConnectorId, SpaceId, SyncId, UserId};

/// Who performs an action.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// A user with an API key, over HTTP.
    User(UserId),
    /// An operator at the command line, with the database's password.
    CommandLine,
    /// A producer on the topic of sync requests.
    Kafka,
}

impl Actor {
    fn via(self) -> &'static str {
        match self {
            Self::User(_) => "api",
            Self::CommandLine => "cli",
            Self::Kafka => "kafka",
        }
    }

    /// Returns the user, if it is one.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::CommandLine | Self::Kafka => None,
        }
    }
}

/// An audited action, displayed as `target_type.verb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
pub enum Action {
    #[display("channel.changed")]
    ChannelChanged,
    #[display("channel.created")]
    ChannelCreated,
    #[display("channel.deleted")]
    ChannelDeleted,
    #[display("channel.redelivered")]
    ChannelRedelivered,
    #[display("channel.resealed")]
    ChannelResealed,
    #[display("channel.tested")]
    ChannelTested,
    #[display("comment.deleted")]
    CommentDeleted,
    #[display("connector.changed")]
    ConnectorChanged,
    #[display("connector.created")]
    ConnectorCreated,
    #[display("connector.deleted")]
    ConnectorDeleted,
    #[display("connector.resealed")]
    ConnectorResealed,
    #[display("connector.sync_requested")]
    ConnectorSyncRequested,
    #[display("group_mapping.changed")]
    GroupMappingChanged,
    #[display("group_mapping.created")]
    GroupMappingCreated,
    #[display("group_mapping.deleted")]
    GroupMappingDeleted,
    #[display("incident.acknowledged")]
    IncidentAcknowledged,
    #[display("incident.muted")]
    IncidentMuted,
    #[display("key.created")]
    KeyCreated,
    #[display("key.revoked")]
    KeyRevoked,
    #[display("pipeline.criticality_changed")]
    PipelineCriticalityChanged,
    #[display("pipeline.team_changed")]
    PipelineTeamChanged,
    #[display("pipeline.triggered")]
    PipelineTriggered,
    #[display("rule.changed")]
    RuleChanged,
    #[display("rule.created")]
    RuleCreated,
    #[display("rule.deleted")]
    RuleDeleted,
    #[display("session.created")]
    SessionCreated,
    #[display("session.ended")]
    SessionEnded,
    #[display("space.created")]
    SpaceCreated,
    #[display("space.pipelines_changed")]
    SpacePipelinesChanged,
    #[display("space.renamed")]
    SpaceRenamed,
    #[display("sync.cancelled")]
    SyncCancelled,
    #[display("team.changed")]
    TeamChanged,
    #[display("team.created")]
    TeamCreated,
    #[display("team.deleted")]
    TeamDeleted,
    #[display("team.member_changed")]
    TeamMemberChanged,
    #[display("user.created")]
    UserCreated,
    #[display("user.disabled")]
    UserDisabled,
    #[display("user.enabled")]
    UserEnabled,
    #[display("user.renamed")]
    UserRenamed,
    #[display("user.role_changed")]
    UserRoleChanged,
}

/// An entry of the audit log.
#[derive(Debug)]
pub struct AuditEvent {
    actor: Actor,
    action: Action,
    target: Uuid,
    details: Value,
}

impl AuditEvent {
    /// `details` is an object without secrets.
    pub fn new(actor: Actor, action: Action, target: impl Into<Uuid>, details: Value) -> Self {
        Self { actor, action, target: target.into(), details }
    }

    /// A request for a sync. One queued sync may satisfy several requests.
    pub fn request_sync(
        actor: Actor,
        connector: ConnectorId,
        sync: SyncId,
        full: bool,
        accept_mass_deletion: bool,
    ) -> Self {
        let details = json!({"sync_id": sync, "full": full, "accept_mass_deletion": accept_mass_deletion});
        Self::new(actor, Action::ConnectorSyncRequested, connector, details)
    }
}

/// Inserts the entry of an action in a space, within the transaction of the action.
pub async fn insert(db: &mut PgConnection, space: SpaceId, event: &AuditEvent) -> sqlx::Result<()> {
    insert_in_spaces(db, &[Some(space)], event).await
}

/// Inserts the entry of an action on a user: one for each of the user's spaces, or one without a space if
/// there are none.
pub async fn insert_for_user(db: &mut PgConnection, user: UserId, event: &AuditEvent) -> sqlx::Result<()> {
    let spaces: Vec<Option<SpaceId>> =
        sqlx::query_scalar("select space_id from memberships where user_id = $1 order by space_id")
            .bind(user)
            .fetch_all(&mut *db)
            .await?;
    insert_in_spaces(db, if spaces.is_empty() { &[None] } else { &spaces }, event).await
}

async fn insert_in_spaces(
    db: &mut PgConnection,
    spaces: &[Option<SpaceId>],
    event: &AuditEvent,
) -> sqlx::Result<()> {
    let action = event.action.to_string();
    for space in spaces {
        sqlx::query(
            "insert into audit (id, space_id, actor_id, via, action, target_type, target_id, details)
             values ($1, $2, $3, $4, $5, split_part($5, '.', 1), $6, $7)",
        )
        .bind(Uuid::now_v7())
        .bind(space)
        .bind(event.actor.user())
        .bind(event.actor.via())
        .bind(&action)
        .bind(event.target)
        .bind(&event.details)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// The OpenAPI schema of [`Action`].
#[cfg(feature = "openapi")]
mod schema {
    use std::borrow::Cow;

    use strum::VariantArray;
    use utoipa::openapi::{RefOr, Schema};
    use utoipa::{PartialSchema, ToSchema};

    use super::Action;

    impl PartialSchema for Action {
        fn schema() -> RefOr<Schema> {
            contract::openapi::string_enum(Self::VARIANTS)
        }
    }

    impl ToSchema for Action {
        fn name() -> Cow<'static, str> {
            Cow::Borrowed("ActionWord")
        }
    }
}
