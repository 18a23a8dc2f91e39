//! Lists of the provider, read page by page.

use contract::events::Observation;
use futures::Stream;
use futures::stream::try_unfold;
use provider::{Page, PageToken, ProviderError};

use super::{SyncError, SyncPass};

impl SyncPass<'_> {
    /// Fetches all pages of a list, each with the observation that was marked before it was requested.
    pub(super) fn pages<T, F>(
        &self,
        fetch: impl Fn(Observation, Option<PageToken>) -> F + Copy,
    ) -> impl Stream<Item = Result<(Observation, Vec<T>), SyncError>>
    where
        F: Future<Output = Result<Page<T>, ProviderError>>,
    {
        // The state is the token of the next page: none for the first page, and no state after the last.
        try_unfold(Some(None), move |next| async move {
            let Some(token) = next else { return Ok(None) };
            let seen = self.observe().await?;
            let page = fetch(seen, token).await?;
            Ok(Some(((seen, page.items), page.next.map(Some))))
        })
    }
}
