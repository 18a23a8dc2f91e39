//! Seals all stored credentials under the first sealing key, while the API and the worker go on: both open what any of
//! their keys sealed. Done again, it finds nothing to do.

use contract::ids::{ConnectorId, SpaceId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::secrets::{Keyring, SealingConfig};
use provider::connector::credentials_aad;
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, PgPool};
use uuid::Uuid;

/// Few enough that nobody waits long for one of these connectors.
const BATCH: i64 = 100;

/// What came of it, in connectors.
#[derive(Debug, Default, Serialize)]
pub struct Resealed {
    resealed: u64,
    /// Sealed under the first key before.
    unchanged: u64,
}

#[derive(FromRow)]
struct Sealed {
    id: ConnectorId,
    space_id: SpaceId,
    name: String,
    credentials_sealed: Vec<u8>,
}

/// Reseals batch by batch.
///
/// # Errors
/// When the database is away; what is done stays done. At the end, when some open with none of the keys.
pub async fn reseal(db: &PgPool, sealing: &SealingConfig) -> anyhow::Result<Resealed> {
    let keyring = Keyring::new(sealing)?;
    let (mut done, mut unopenable, mut after) = (Resealed::default(), Vec::new(), ConnectorId(Uuid::nil()));
    while let Some(last) = reseal_some(db, &keyring, after, &mut done, &mut unopenable).await? {
        after = last;
    }
    match unopenable.as_slice() {
        [] => Ok(done),
        names => anyhow::bail!(
            "{} resealed; the credentials of these connectors open with none of the sealing keys, so enter them again: {}",
            done.resealed,
            names.join(", ")
        ),
    }
}

/// Reseals the next few, in one transaction; the last of them, if there were any.
async fn reseal_some(
    db: &PgPool,
    keyring: &Keyring,
    after: ConnectorId,
    done: &mut Resealed,
    unopenable: &mut Vec<String>,
) -> anyhow::Result<Option<ConnectorId>> {
    let mut tx = db.begin().await?;
    let batch: Vec<Sealed> = sqlx::query_as(
        "select id, space_id, name, credentials_sealed from connectors
         where id > $1 and credentials_sealed is not null order by id limit $2 for update",
    )
    .bind(after)
    .bind(BATCH)
    .fetch_all(&mut *tx)
    .await?;
    let (mut resealed, mut unchanged) = (0, 0);
    for Sealed { id, space_id, name, credentials_sealed } in &batch {
        let Ok(sealed) = keyring.reseal(&credentials_aad(*id), credentials_sealed) else {
            unopenable.push(name.clone());
            continue;
        };
        let Some(sealed) = sealed else {
            unchanged += 1;
            continue;
        };
        sqlx::query("update connectors set credentials_sealed = $2 where id = $1")
            .bind(id)
            .bind(sealed)
            .execute(&mut *tx)
            .await?;
        let act =
            AuditEvent::new(Actor::CommandLine, Action::ConnectorResealed, *id, json!({ "name": name }));
        audit::record(&mut tx, *space_id, &act).await?;
        resealed += 1;
    }
    tx.commit().await?;
    done.resealed += resealed;
    done.unchanged += unchanged;
    Ok(batch.last().map(|last| last.id))
}
