//! Requests that fail alone: an error of one of them costs only what it asked for, as long as the provider
//! answers others.

use std::sync::{Mutex, PoisonError};

use provider::ProviderError;

use super::error::{is_request_specific, is_unanswered};
use super::{SyncError, SyncPass};

/// After so many requests of a poll for single entities without an answer, it sends no further ones: each
/// takes as long as the time-out.
const MAX_UNANSWERED: usize = 5;

/// The requests of a poll for single entities that were not answered.
#[derive(Default)]
pub(super) struct UnansweredRequests(Mutex<Vec<ProviderError>>);

impl UnansweredRequests {
    /// Begins a poll.
    pub(super) fn reset(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn add(&self, error: &ProviderError) {
        if is_unanswered(error) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(error.clone());
        }
    }

    /// The last error, if no further request is to be sent.
    fn last_if_too_many(&self) -> Option<ProviderError> {
        let errors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        errors.last().filter(|_| errors.len() >= MAX_UNANSWERED).cloned()
    }
}

impl SyncPass<'_> {
    /// Requests a single entity, or a part of one. The inner error is specific to it; after too many requests
    /// without an answer it is the error of the last one, and nothing is requested.
    ///
    /// # Errors
    /// The outer error ends the sync.
    pub(super) async fn request_one<T>(
        &self,
        request: impl Future<Output = Result<T, SyncError>>,
    ) -> Result<Result<T, ProviderError>, SyncError> {
        if let Some(error) = self.unanswered.last_if_too_many() {
            return Ok(Err(error));
        }
        match request.await {
            Ok(value) => Ok(Ok(value)),
            Err(SyncError::Provider(error)) => {
                let error = self.specific(error).await?;
                self.unanswered.add(&error);
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns an error that is specific to one request, so that others may succeed.
    ///
    /// # Errors
    /// Any other error. After a request without an answer the provider is asked for its clock: if it does not
    /// answer that either, no request is answered.
    pub(super) async fn specific(&self, error: ProviderError) -> Result<ProviderError, SyncError> {
        if is_unanswered(&error) {
            self.provider.clock().await?;
            return Ok(error);
        }
        if is_request_specific(&error) { Ok(error) } else { Err(error.into()) }
    }
}
