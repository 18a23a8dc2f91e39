//! A cache of the access that keys and sessions give, so that not every request needs a query.
//!
//! PostgreSQL notifies of every change to keys, members and spaces and of every session that ends, and the
//! whole cache is cleared then, with what is known of invalid keys. Without a listening connection nothing is
//! cached. Entries expire with their key or session, and after `TTL`, in case the connection broke unnoticed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use platform::health::Heartbeat;
use platform::periodic::Periodic;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::failed_attempts::FailedAttempts;
use crate::store::access::{self, Access, Credential};

const TTL: Duration = Duration::from_secs(5);
const CHANNEL: &str = "access_changed";
/// The cache is cleared when it reaches this size, so that its memory is bounded.
const MAX_ENTRIES: usize = 10_000;
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);
/// How long the connection may be silent before it is checked.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// A key or session, and the slug of the requested space.
type AccessKey = (Credential, Option<String>);

#[derive(Debug, Default)]
pub struct AccessCache {
    state: Mutex<CacheState>,
    pub(super) failed_attempts: FailedAttempts,
}

#[derive(Debug, Default)]
struct CacheState {
    /// The access, and the time at which it is read again.
    entries: HashMap<AccessKey, (Access, Instant)>,
    is_listening: bool,
    /// Counts the clearings: a row that was read before the last one may be outdated.
    generation: u64,
}

impl AccessCache {
    /// Finds the access that a key or session gives; none when it is not valid.
    pub async fn find(
        &self,
        db: &PgPool,
        credential: Credential,
        slug: Option<&str>,
        idle: Duration,
    ) -> sqlx::Result<Option<Access>> {
        let key = (credential, slug.map(str::to_owned));
        let generation = match self.get(&key) {
            Ok(access) => return Ok(Some(access)),
            Err(generation) => generation,
        };
        let read_at = Instant::now();
        let found = access::find(db, credential, slug, idle).await?;
        if let Some(access) = &found
            && (slug.is_none() || access.role.is_some())
        {
            // The use that is due is recorded after this call.
            let entry = (Access { is_use_due: false, ..access.clone() }, read_at + ttl(access));
            self.insert(key, entry, generation);
        }
        Ok(found)
    }

    /// Listens for changes until stopped.
    pub async fn listen(&self, db: &PgPool, heartbeat: &Heartbeat, stop: &CancellationToken) {
        let mut connections =
            Periodic::new(RECONNECT_INTERVAL, stop.clone()).with_heartbeat(heartbeat.clone());
        while connections.next().await {
            let listening = self.listen_once(db, heartbeat);
            if let Some(Err(error)) = stop.run_until_cancelled(listening).await {
                tracing::debug!(%error, "access cache disabled: no notifications from PostgreSQL");
            }
            self.clear(false);
        }
    }

    /// Listens until the connection breaks.
    async fn listen_once(&self, db: &PgPool, heartbeat: &Heartbeat) -> sqlx::Result<()> {
        let mut listener = PgListener::connect_with(db).await?;
        listener.listen(CHANNEL).await?;
        self.clear(true);
        loop {
            heartbeat.record();
            match timeout(MAX_SILENCE, listener.try_recv()).await {
                Ok(Ok(Some(_))) => self.clear(true),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => sqlx::query("select").execute(&mut listener).await.map(drop)?,
            }
        }
    }

    /// Returns the cached access, or the current generation.
    fn get(&self, key: &AccessKey) -> Result<Access, u64> {
        let state = self.lock();
        let entry = state.entries.get(key).filter(|(_, until)| Instant::now() < *until);
        entry.map(|(access, _)| access.clone()).ok_or(state.generation)
    }

    /// Caches an access, unless the cache was cleared after `generation`, when the access was read.
    fn insert(&self, key: AccessKey, entry: (Access, Instant), generation: u64) {
        let mut state = self.lock();
        if !state.is_listening || state.generation != generation {
            return;
        }
        if state.entries.len() >= MAX_ENTRIES {
            state.entries.clear();
        }
        state.entries.insert(key, entry);
    }

    fn clear(&self, is_listening: bool) {
        let mut state = self.lock();
        state.entries.clear();
        state.is_listening = is_listening;
        state.generation += 1;
        drop(state);
        // A key that was invalid may be valid now.
        self.failed_attempts.forget_invalid();
    }

    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how long after it was read an access may be cached: at most until its key or session expires.
fn ttl(access: &Access) -> Duration {
    let expires_in =
        access.expires_in.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
    expires_in.map_or(TTL, |expires_in| expires_in.min(TTL))
}
