//! What keys give access to, remembered for a moment, so that a key that asks often is not looked up each time.
//!
//! PostgreSQL tells when anything of it is changed, and everything is forgotten then. Nothing is remembered while it
//! cannot tell, nor for longer than [`TRUSTED`], should the connection have died unnoticed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use crate::store::access::{self, Access};

const TRUSTED: Duration = Duration::from_secs(5);
const CHANNEL: &str = "access_changed";
/// Above this everything is forgotten: memory stays bounded.
const MOST: usize = 10_000;
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// A key's SHA-256 and the space that was named.
type Asked = ([u8; 32], Option<String>);

#[derive(Debug, Default)]
pub struct AccessMemory(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    known: HashMap<Asked, (Access, Instant)>,
    is_told: bool,
    /// How often everything was forgotten: what was looked up before may be outdated.
    forgotten: u64,
}

impl AccessMemory {
    /// The access that a key gives; none when it is not valid.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn find(
        &self,
        db: &PgPool,
        key_sha256: [u8; 32],
        slug: Option<&str>,
    ) -> sqlx::Result<Option<Access>> {
        let asked = (key_sha256, slug.map(str::to_owned));
        let before = match self.recall(&asked) {
            Ok(access) => return Ok(Some(access)),
            Err(forgotten) => forgotten,
        };
        let found = access::find(db, key_sha256, slug).await?;
        if let Some(access) = &found
            && (slug.is_none() || access.role.is_some())
        {
            self.remember(asked, access.clone(), before);
        }
        Ok(found)
    }

    /// Listens for changes until stopped.
    pub async fn listen(&self, db: &PgPool, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            tokio::select! {
                told = self.be_told(db) => if let Err(error) = told {
                    tracing::debug!(%error, "changes of access are not told; every key is looked up");
                },
                () = stop.cancelled() => {}
            }
            self.forget(false);
            tokio::select! {
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Until the connection breaks.
    async fn be_told(&self, db: &PgPool) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(db).await?;
        listener.listen(CHANNEL).await?;
        self.forget(true);
        while listener.try_recv().await?.is_some() {
            self.forget(true);
        }
        Ok(())
    }

    /// What is known, or else how often everything was forgotten until now.
    fn recall(&self, asked: &Asked) -> Result<Access, u64> {
        let memory = self.memory();
        let known = memory.known.get(asked).filter(|(_, since)| since.elapsed() < TRUSTED);
        known.map(|(access, _)| access.clone()).ok_or(memory.forgotten)
    }

    fn remember(&self, asked: Asked, access: Access, before: u64) {
        let mut memory = self.memory();
        if !memory.is_told || memory.forgotten != before {
            return;
        }
        if memory.known.len() >= MOST {
            memory.known.clear();
        }
        memory.known.insert(asked, (access, Instant::now()));
    }

    fn forget(&self, is_told: bool) {
        let mut memory = self.memory();
        memory.known.clear();
        memory.is_told = is_told;
        memory.forgotten += 1;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
