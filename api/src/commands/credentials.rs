//! `credentials reseal`: seals all stored credentials of connectors and secrets of channels under the first
//! sealing key. The API and the worker keep running, because they open secrets with any of their keys. A
//! second run finds nothing to do.

use clap::Subcommand;
use contract::ids::{ChannelId, ConnectorId};
use platform::audit::{self, Action, Actor, AuditEvent};
use platform::notifications::channel_aad;
use platform::secrets::{Keyring, SealingConfig};
use provider::connector::credentials_aad;
use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use super::to_json;
use crate::store::credentials::{self, SealedTable};

#[derive(Subcommand, Debug)]
pub enum CredentialsCommand {
    /// Encrypt all credentials and channel secrets with the first sealing key, so that the other keys can be
    /// removed
    Reseal(SealingConfig),
}

/// The result, in numbers of connectors and channels.
#[derive(Debug, Default, Serialize)]
struct ResealReport {
    resealed: u64,
    /// Those that were sealed under the first key already.
    unchanged: u64,
    /// The names of those that none of the keys opens.
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
    let mut report = ResealReport::default();
    for table in [SealedTable::Connectors, SealedTable::Channels] {
        let mut after = Uuid::nil();
        while let Some(last) = reseal_batch(db, &keyring, table, after, &mut report).await? {
            after = last;
        }
    }
    match report.unopenable.as_slice() {
        [] => Ok(report),
        names => anyhow::bail!(
            "{} resealed; the secrets of these connectors and channels open with none of the sealing keys, \
             so enter them again: {}",
            report.resealed,
            names.join(", ")
        ),
    }
}

/// Reseals the rows of the next batch in one transaction, and returns the last of them.
async fn reseal_batch(
    db: &PgPool,
    keyring: &Keyring,
    table: SealedTable,
    after: Uuid,
    report: &mut ResealReport,
) -> anyhow::Result<Option<Uuid>> {
    let mut tx = db.begin().await?;
    let batch = credentials::list_locked(&mut tx, table, after).await?;
    let (mut resealed, mut unchanged) = (0, 0);
    for row in &batch {
        let (aad, action) = match table {
            SealedTable::Connectors => (credentials_aad(ConnectorId(row.id)), Action::ConnectorResealed),
            SealedTable::Channels => (channel_aad(ChannelId(row.id)), Action::ChannelResealed),
        };
        match keyring.reseal(&aad, &row.sealed) {
            Err(_) => report.unopenable.push(row.name.clone()),
            Ok(None) => unchanged += 1,
            Ok(Some(sealed)) => {
                credentials::update(&mut tx, table, row.id, sealed).await?;
                let details = json!({ "name": row.name });
                let event = AuditEvent::new(Actor::CommandLine, action, row.id, details);
                audit::insert(&mut tx, row.space_id, &event).await?;
                resealed += 1;
            }
        }
    }
    tx.commit().await?;
    report.resealed += resealed;
    report.unchanged += unchanged;
    Ok(batch.last().map(|last| last.id))
}
