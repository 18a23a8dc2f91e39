//! The sealed credentials of connectors, as `credentials reseal` reads and replaces them across all spaces.

use contract::ids::{ConnectorId, SpaceId};
use sqlx::{FromRow, PgConnection};

/// Few enough rows to lock at a time, so that no other change of a connector waits long.
const BATCH: i64 = 100;

/// The sealed credentials of one connector.
#[derive(FromRow)]
pub struct SealedCredentials {
    pub id: ConnectorId,
    pub space_id: SpaceId,
    pub name: String,
    pub credentials_sealed: Vec<u8>,
}

/// Lists the next connectors with credentials after this id, locked until the transaction ends.
pub async fn list_locked(db: &mut PgConnection, after: ConnectorId) -> sqlx::Result<Vec<SealedCredentials>> {
    sqlx::query_as(
        "select id, space_id, name, credentials_sealed from connectors
         where id > $1 and credentials_sealed is not null order by id limit $2 for update",
    )
    .bind(after)
    .bind(BATCH)
    .fetch_all(db)
    .await
}

/// Replaces the sealed credentials of a connector.
pub async fn update(db: &mut PgConnection, connector: ConnectorId, sealed: Vec<u8>) -> sqlx::Result<()> {
    let query = sqlx::query("update connectors set credentials_sealed = $2 where id = $1");
    query.bind(connector).bind(sealed).execute(db).await.map(drop)
}
