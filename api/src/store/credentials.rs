//! The sealed secrets of connectors and channels, as `credentials reseal` reads and replaces them across all
//! spaces.

use contract::ids::SpaceId;
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

/// Few enough rows to lock at a time, so that no other change of a row waits long.
const BATCH: i64 = 100;

/// A table with sealed secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedTable {
    Connectors,
    Channels,
}

/// The sealed secrets of one row.
#[derive(FromRow)]
pub struct SealedSecrets {
    pub id: Uuid,
    pub space_id: SpaceId,
    pub name: String,
    pub sealed: Vec<u8>,
}

/// Lists the next rows with secrets after this id, locked until the transaction ends.
pub async fn list_locked(
    db: &mut PgConnection,
    table: SealedTable,
    after: Uuid,
) -> sqlx::Result<Vec<SealedSecrets>> {
    let query = match table {
        SealedTable::Connectors => sqlx::query_as(
            "select id, space_id, name, credentials_sealed as sealed from connectors
             where id > $1 and credentials_sealed is not null order by id limit $2 for update",
        ),
        SealedTable::Channels => sqlx::query_as(
            "select id, space_id, name, secrets_sealed as sealed from notification_channels
             where id > $1 and secrets_sealed is not null order by id limit $2 for update",
        ),
    };
    query.bind(after).bind(BATCH).fetch_all(db).await
}

/// Replaces the sealed secrets of a row.
pub async fn update(
    db: &mut PgConnection,
    table: SealedTable,
    id: Uuid,
    sealed: Vec<u8>,
) -> sqlx::Result<()> {
    let query = match table {
        SealedTable::Connectors => sqlx::query("update connectors set credentials_sealed = $2 where id = $1"),
        SealedTable::Channels => {
            sqlx::query("update notification_channels set secrets_sealed = $2 where id = $1")
        }
    };
    query.bind(id).bind(sealed).execute(db).await.map(drop)
}
