//! Rows that a test starts from: spaces, connectors and syncs.

use contract::ids::{ConnectorId, SyncId};
use contract::state::{SyncStatus, SyncTrigger};
use platform::secrets::Keyring;
use provider::connector::{Secrets, credentials_aad};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

/// Creates a space whose name is its slug with a capital letter.
pub async fn create_space(db: &PgPool, slug: &str) -> Uuid {
    sqlx::query_scalar("insert into spaces (id, slug, name) values ($1, $2, initcap($2)) returning id")
        .bind(Uuid::now_v7())
        .bind(slug)
        .fetch_one(db)
        .await
        .unwrap()
}

/// Creates an Airflow connector without credentials; it is not due until a test says so.
pub async fn create_connector(db: &PgPool, space: &str, name: &str, config: Value) -> ConnectorId {
    create_connectors(db, space, &[(name.to_owned(), config)]).await[0]
}

/// The same for many connectors at once, given by name and configuration.
pub async fn create_connectors(db: &PgPool, space: &str, connectors: &[(String, Value)]) -> Vec<ConnectorId> {
    let (names, configs): (Vec<_>, Vec<_>) = connectors.iter().cloned().unzip();
    sqlx::query_scalar(
        r#"with created as (
               insert into connectors (id, space_id, name, connector_type, config, credentials_public)
               select gen_random_uuid(), spaces.id, new.name, 'airflow', new.config, '{"auth_type": "none"}'
               from spaces, unnest($2::text[], $3::jsonb[]) new (name, config) where slug = $1 returning id)
           insert into connector_state (connector_id) select id from created returning connector_id"#,
    )
    .bind(space)
    .bind(names)
    .bind(configs)
    .fetch_all(db)
    .await
    .unwrap()
}

/// Seals credentials and stores them with their connector.
pub async fn store_credentials(db: &PgPool, connector: ConnectorId, keyring: &Keyring, secrets: &Secrets) {
    let plain = serde_json::to_vec(secrets).unwrap();
    let sealed = keyring.seal(&credentials_aad(connector), &plain).unwrap();
    sqlx::query("update connectors set credentials_sealed = $2, credentials_public = $3 where id = $1")
        .bind(connector)
        .bind(sealed)
        .bind(secrets.public())
        .execute(db)
        .await
        .unwrap();
}

/// A sync to insert: by default a manual one, accepted and waiting for a worker.
pub struct SeededSync {
    pub status: SyncStatus,
    pub trigger: SyncTrigger,
    pub full: bool,
    pub accept_mass_deletion: bool,
}

impl Default for SeededSync {
    fn default() -> Self {
        Self {
            status: SyncStatus::Queued,
            trigger: SyncTrigger::Manual,
            full: false,
            accept_mass_deletion: false,
        }
    }
}

/// Inserts a sync of a connector, requested now.
pub async fn insert_sync(db: &PgPool, connector: ConnectorId, sync: SeededSync) -> SyncId {
    sqlx::query_scalar(
        r#"insert into syncs (id, space_id, connector_id, status, trigger, "full", accept_mass_deletion,
               requested_at, accepted_at)
           select $1, space_id, id, $3, $4, $5, $6, now(), now() from connectors where id = $2 returning id"#,
    )
    .bind(Uuid::now_v7())
    .bind(connector)
    .bind(sync.status)
    .bind(sync.trigger)
    .bind(sync.full)
    .bind(sync.accept_mass_deletion)
    .fetch_one(db)
    .await
    .unwrap()
}
