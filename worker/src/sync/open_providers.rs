//! Providers that stay open between the syncs of a connector, so that not every poll has to log in again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use contract::ids::ConnectorId;
use provider::connector::{ConnectorConfig, Secrets};
use provider::{self, NetworkPolicy, Provider, ProviderError};

use super::jobs::Job;

/// More than so many are not kept open.
const MOST: usize = 1_000;

/// The open providers of this worker.
#[derive(Default)]
pub struct OpenProviders(Mutex<HashMap<ConnectorId, Open>>);

struct Open {
    config: ConnectorConfig,
    secrets: Secrets,
    provider: Arc<dyn Provider>,
}

impl OpenProviders {
    /// The provider of a job's connector, opened anew when its settings have changed.
    ///
    /// # Errors
    /// When the settings themselves cannot work.
    pub fn open(&self, job: &Job, network: NetworkPolicy) -> Result<Arc<dyn Provider>, ProviderError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.get(&job.connector_id);
        if let Some(known) = known.filter(|known| known.config == job.config && known.secrets == job.secrets)
        {
            return Ok(known.provider.clone());
        }
        if open.len() >= MOST {
            open.clear();
        }
        let provider: Arc<dyn Provider> =
            provider::open(&job.config, &job.secrets, job.source(), network)?.into();
        let (config, secrets) = (job.config.clone(), job.secrets.clone());
        open.insert(job.connector_id, Open { config, secrets, provider: provider.clone() });
        Ok(provider)
    }

    /// Closes the provider of a connector: what was found out about it may be wrong by now, such as its version.
    pub fn close(&self, connector: ConnectorId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&connector);
    }
}
