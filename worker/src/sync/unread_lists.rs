//! Lists of a poll that the provider refuses or does not answer: what does not depend on them is read all the
//! same, and the sync fails with the error of the first of them.

use provider::ProviderError;

use super::{SyncError, SyncPass};

pub(super) const PIPELINES: &str = "pipelines";
pub(super) const CHANGED_RUNS: &str = "changed runs";
pub(super) const UNFINISHED_RUNS: &str = "unfinished runs";
pub(super) const CHANGED_TASK_RUNS: &str = "changed task runs";

/// The lists that a poll could not read, each with its error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct UnreadLists(Vec<(&'static str, ProviderError)>);

impl SyncPass<'_> {
    /// Reads a list; nothing when the list alone fails, or has failed before.
    pub(super) async fn read_list<T: Default>(
        &self,
        unread: &mut UnreadLists,
        list: &'static str,
        read: impl Future<Output = Result<T, SyncError>>,
    ) -> Result<T, SyncError> {
        if unread.error_of(list).is_some() {
            return Ok(T::default());
        }
        match read.await {
            Err(SyncError::Provider(error)) => {
                let error = self.specific(error).await?;
                tracing::warn!(list, %error, "list not read");
                unread.0.push((list, error));
                Ok(T::default())
            }
            read => read,
        }
    }
}

impl UnreadLists {
    pub(super) fn error_of(&self, list: &str) -> Option<&ProviderError> {
        self.0.iter().find(|(unread, _)| *unread == list).map(|(_, error)| error)
    }

    /// Whether single runs are not to be requested either.
    pub(super) fn are_runs_refused(&self) -> bool {
        self.errors_of_runs()
            .any(|error| matches!(error, ProviderError::Forbidden { .. } | ProviderError::Unreachable { .. }))
    }

    /// Whether all pipelines and runs were read.
    pub(super) fn are_runs_read(&self) -> bool {
        self.error_of(PIPELINES).is_none() && self.errors_of_runs().next().is_none()
    }

    fn errors_of_runs(&self) -> impl Iterator<Item = &ProviderError> {
        [CHANGED_RUNS, UNFINISHED_RUNS].into_iter().filter_map(|list| self.error_of(list))
    }

    /// The lists with the error of the first one, as the error of the sync.
    pub(super) fn failure(&self) -> Option<SyncError> {
        let (_, error) = self.0.first()?;
        let lists: Vec<_> = self.0.iter().map(|(list, _)| *list).collect();
        Some(SyncError::UnreadList { lists: lists.join(" and "), error: error.clone() })
    }
}
