//! Lists of a poll that the provider refuses or does not answer: what does not depend on them is read all the
//! same, and the sync fails with the first of them.

use provider::ProviderError;

use super::SyncError;
use super::error::is_request_specific;

pub(super) const CHANGED_RUNS: &str = "changed runs";
pub(super) const UNFINISHED_RUNS: &str = "unfinished runs";
pub(super) const CHANGED_TASK_RUNS: &str = "changed task runs";

/// The lists that a poll could not read, each with its error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnreadLists(Vec<(&'static str, ProviderError)>);

impl UnreadLists {
    /// Reads a list; nothing when the list alone fails, or has failed before.
    ///
    /// # Errors
    /// Also when a second list is not answered: then the provider is hardly up.
    pub(super) async fn read<T: Default>(
        &mut self,
        list: &'static str,
        read: impl Future<Output = Result<T, SyncError>>,
    ) -> Result<T, SyncError> {
        if self.error_of(list).is_some() {
            return Ok(T::default());
        }
        match read.await {
            Err(SyncError::Provider(error)) if self.is_about_list(&error) => {
                tracing::warn!(list, %error, "list not read");
                self.0.push((list, error));
                Ok(T::default())
            }
            read => read,
        }
    }

    fn is_about_list(&self, error: &ProviderError) -> bool {
        match error {
            ProviderError::Unreachable { .. } => {
                !self.0.iter().any(|(_, other)| matches!(other, ProviderError::Unreachable { .. }))
            }
            error => is_request_specific(error),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn error_of(&self, list: &str) -> Option<&ProviderError> {
        self.0.iter().find(|(unread, _)| *unread == list).map(|(_, error)| error)
    }

    /// Whether single runs are not to be requested either.
    pub(super) fn are_runs_refused(&self) -> bool {
        [CHANGED_RUNS, UNFINISHED_RUNS]
            .into_iter()
            .filter_map(|list| self.error_of(list))
            .any(|error| matches!(error, ProviderError::Forbidden { .. } | ProviderError::Unreachable { .. }))
    }

    /// The first list, as the error of the sync.
    pub(super) fn first(&self) -> Option<SyncError> {
        let (list, error) = self.0.first()?;
        Some(SyncError::UnreadList { list, error: error.clone() })
    }
}
