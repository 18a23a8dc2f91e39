//! Providers that stay open between the syncs of a connector, so that a poll does not log in each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use contract::ids::ConnectorId;
use provider::connector::{ConnectorConfig, Secrets};
use provider::{NetworkPolicy, Provider, ProviderError};

use crate::sync::SyncJob;

/// Maximum number of open providers; at this number all are closed.
const MAX_OPEN: usize = 1_000;

/// The open providers of this worker, by connector.
#[derive(Default)]
pub(crate) struct OpenProviders(Mutex<HashMap<ConnectorId, OpenProvider>>);

struct OpenProvider {
    config: ConnectorConfig,
    secrets: Secrets,
    provider: Arc<dyn Provider>,
}

impl OpenProviders {
    /// Returns the provider of a job's connector. It is opened again after its settings have changed.
    ///
    /// # Errors
    /// When the settings themselves cannot work.
    pub(crate) fn open(
        &self,
        job: &SyncJob,
        network: &NetworkPolicy,
    ) -> Result<Arc<dyn Provider>, ProviderError> {
        let mut open = self.lock();
        let connector = job.lease.connector_id;
        let cached = open.get(&connector);
        if let Some(cached) = cached.filter(|open| open.config == job.config && open.secrets == job.secrets) {
            return Ok(cached.provider.clone());
        }
        if open.len() >= MAX_OPEN {
            open.clear();
        }
        let provider: Arc<dyn Provider> =
            provider::open(&job.config, &job.secrets, job.source(), network)?.into();
        let (config, secrets) = (job.config.clone(), job.secrets.clone());
        open.insert(connector, OpenProvider { config, secrets, provider: provider.clone() });
        Ok(provider)
    }

    /// Closes the provider of a connector, because what it has cached may be outdated, such as the API
    /// version.
    pub(crate) fn close(&self, connector: ConnectorId) {
        self.lock().remove(&connector);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectorId, OpenProvider>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
