//! The audit trail: who did what, written in the transaction of the act itself, so that neither is there without the
//! other. Secrets have no place in it. Showing it to people is for the API.

use derive_more::Display;
use serde_json::{Value, json};
use sqlx::PgConnection;
use strum::VariantArray;
use uuid::Uuid;

use contract::ids::{ConnectorId, SpaceId, SyncId, UserId};

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub enum Actor {
    /// Somebody with a key, over HTTP.
    User(UserId),
    /// Whoever sits at a command line, with the database's password.
    CommandLine,
    /// Whoever may write to the topic of sync requests.
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

    fn id(self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user),
            Self::CommandLine | Self::Kafka => None,
        }
    }
}

/// What is done. The kind of thing that it is done to stands before the dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
pub enum Action {
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
    #[display("space.created")]
    SpaceCreated,
    #[display("space.renamed")]
    SpaceRenamed,
    #[display("team.created")]
    TeamCreated,
    #[display("user.created")]
    UserCreated,
    #[display("user.renamed")]
    UserRenamed,
    #[display("user.role_changed")]
    UserRoleChanged,
}

/// What somebody does, and what there is to know of it besides.
#[derive(Debug)]
pub struct AuditEvent {
    actor: Actor,
    action: Action,
    target: Uuid,
    details: Value,
}

impl AuditEvent {
    /// `details` is an object, and holds no secret.
    pub fn new(actor: Actor, action: Action, target: impl Into<Uuid>, details: Value) -> Self {
        Self { actor, action, target: target.into(), details }
    }

    /// Somebody asks for a sync of a connector; one that waits may serve several who ask.
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

/// Writes down what is done in a space, within the transaction that does it.
///
/// # Errors
/// When PostgreSQL is away.
pub async fn record(db: &mut PgConnection, space: SpaceId, act: &AuditEvent) -> sqlx::Result<()> {
    write(db, &[Some(space)], act).await
}

/// Writes down what is done to a person, in each of their spaces; in none, when they belong to none.
///
/// # Errors
/// When PostgreSQL is away.
pub async fn record_for_user(db: &mut PgConnection, person: UserId, act: &AuditEvent) -> sqlx::Result<()> {
    let spaces: Vec<Option<SpaceId>> =
        sqlx::query_scalar("select space_id from memberships where user_id = $1 order by space_id")
            .bind(person)
            .fetch_all(&mut *db)
            .await?;
    write(db, if spaces.is_empty() { &[None] } else { &spaces }, act).await
}

async fn write(db: &mut PgConnection, spaces: &[Option<SpaceId>], act: &AuditEvent) -> sqlx::Result<()> {
    let action = act.action.to_string();
    for space in spaces {
        sqlx::query(
            "insert into audit (id, space_id, actor_id, via, action, target_type, target_id, details)
             values ($1, $2, $3, $4, $5, split_part($5, '.', 1), $6, $7)",
        )
        .bind(Uuid::now_v7())
        .bind(space)
        .bind(act.actor.id())
        .bind(act.actor.via())
        .bind(&action)
        .bind(act.target)
        .bind(&act.details)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// The schema of the API's document.
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
