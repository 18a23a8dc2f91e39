//! Lists of the provider, read page by page. Each page comes with the observation that was marked before it
//! was requested. Rows that cannot be read are noted in the sync's report.

use contract::events::{Observation, PipelineObserved, RunObserved, TaskRunObserved};
use futures::Stream;
use futures::stream::try_unfold;
use provider::{Page, PagePermit, PageToken, ProviderError, RunScope, TaskRunScope};

use super::{SyncError, SyncPass};

/// The items of a page.
pub(super) struct ObservedItems<T> {
    pub(super) observation: Observation,
    pub(super) items: Vec<T>,
    /// How many rows are missing from the items because their ids could not be read.
    pub(super) lost: u64,
    /// Held until the items are published.
    pub(super) permit: PagePermit,
}

type ObservedPage<T> = Result<ObservedItems<T>, SyncError>;

impl SyncPass<'_> {
    /// All pipelines of the provider.
    pub(super) fn pipeline_pages(&self) -> impl Stream<Item = ObservedPage<PipelineObserved>> {
        self.pages(move |observation, token| async move {
            self.provider.pipelines(observation, token.as_ref()).await
        })
    }

    /// The runs of a scope.
    pub(super) fn run_pages(&self, scope: &RunScope) -> impl Stream<Item = ObservedPage<RunObserved>> {
        self.pages(move |observation, token| async move {
            self.provider.runs(scope, observation, token.as_ref()).await
        })
    }

    /// The task runs of a scope.
    pub(super) fn task_run_pages(
        &self,
        scope: &TaskRunScope,
    ) -> impl Stream<Item = ObservedPage<TaskRunObserved>> {
        self.pages(move |observation, token| async move {
            self.provider.task_runs(scope, observation, token.as_ref()).await
        })
    }

    fn pages<T, F>(
        &self,
        fetch: impl Fn(Observation, Option<PageToken>) -> F + Copy,
    ) -> impl Stream<Item = ObservedPage<T>>
    where
        F: Future<Output = Result<Page<T>, ProviderError>>,
    {
        // The state is the token of the next page: none for the first page, and no state after the last.
        try_unfold(Some(None), move |next| async move {
            let Some(token) = next else { return Ok(None) };
            let observation = self.observe().await?;
            let page = fetch(observation, token).await?;
            let (lost, permit) = (page.unreadable.lost, page.permit);
            self.publisher.note_unreadable(page.unreadable);
            Ok(Some((ObservedItems { observation, items: page.items, lost, permit }, page.next.map(Some))))
        })
    }
}
