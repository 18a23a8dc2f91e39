//! `credentials reseal`: seals all stored credentials under the first sealing key. The API and the worker
//! keep running, because they open credentials with any of their keys. A second run finds nothing to do.

use clap::Subcommand;
use contract::ids::ConnectorId;
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::secrets::{Keyring, SealingConfig};
use provider::connector::credentials_aad;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::to_json;
use crate::store::credentials;

#[derive(Subcommand, Debug)]
pub enum CredentialsCommand {
    /// Encrypt all credentials with the first sealing key, so that the other keys can be removed
    Reseal(SealingConfig),
}

/// The result, in numbers of connectors.
#[derive(Debug, Default, Serialize)]
struct ResealReport {
    resealed: u64,
    /// Connectors whose credentials were sealed under the first key already.
    unchanged: u64,
    /// The names of the connectors whose credentials none of the keys opens.
    #[serde(skip)]
    unopenable: Vec<String>,
}

pub(super) async fn run(db: &PgPool, command: CredentialsCommand) -> anyhow::Result<Value> {
    match command {
        CredentialsCommand::Reseal(sealing) => to_json(reseal(db, &sealing).await?),
    }
}

/// Reseals batch by batch. After an error, the batches before it stay resealed.
async fn reseal(db: &PgPool, sealing: &SealingConfig) -> anyhow::Result<ResealReport> {
    let keyring = Keyring::new(sealing)?;
    let (mut report, mut after) = (ResealReport::default(), ConnectorId(Uuid::nil()));
    while let Some(last) = reseal_batch(db, &keyring, after, &mut report).await? {
        after = last;
    }
    match report.unopenable.as_slice() {
        [] => Ok(report),
        names => anyhow::bail!(
            "{} resealed; the credentials of these connectors open with none of the sealing keys, so enter \
             them again: {}",
            report.resealed,
            names.join(", ")
        ),
    }
}

/// Reseals the connectors of the next batch in one transaction, and returns the last of them.
async fn reseal_batch(
    db: &PgPool,
    keyring: &Keyring,
    after: ConnectorId,
    report: &mut ResealReport,
) -> anyhow::Result<Option<ConnectorId>> {
    let mut tx = db.begin().await?;
    let batch = credentials::list_locked(&mut tx, after).await?;
    let (mut resealed, mut unchanged) = (0, 0);
    for connector in &batch {
        match keyring.reseal(&credentials_aad(connector.id), &connector.credentials_sealed) {
            Err(_) => report.unopenable.push(connector.name.clone()),
            Ok(None) => unchanged += 1,
            Ok(Some(sealed)) => {
                credentials::update(&mut tx, connector.id, sealed).await?;
                let details = json!({ "name": connector.name });
                let event =
                    AuditEvent::new(Actor::CommandLine, Action::ConnectorResealed, connector.id, details);
                audit::insert(&mut tx, connector.space_id, &event).await?;
                resealed += 1;
            }
        }
    }
    tx.commit().await?;
    report.resealed += resealed;
    report.unchanged += unchanged;
    Ok(batch.last().map(|last| last.id))
}
