//! Histories: a pipeline's runs and task runs, read through within the connector's window of days. A first sync, a
//! full one and one that goes on after a crash all ask the same: which histories were not read since?

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use shared::events::TaskRunObserved;
use shared::ids::{PipelineId, RunId, TaskRunId};
use shared::provider::{ProviderError, RunScope, TaskRunScope};

use super::listing::Listed;
use super::{CRAWLS_AT_ONCE, Sync, SyncError, jobs};

/// How often every history is read again, to find what no list of changes tells: deletions and notes.
const RECONCILE_EVERY: TimeDelta = TimeDelta::hours(6);
/// How many histories one poll reads again at most.
const RECONCILE_MOST: usize = 20;

impl Sync<'_> {
    /// Reads every history that is due, a few at a time, noting each as it is done. Pipelines that are lively now go
    /// first.
    pub(super) async fn crawl_due(
        &self,
        listed: &Listed,
        lively: &BTreeSet<PipelineId>,
    ) -> Result<(), SyncError> {
        let mut due = self.due(listed).await?;
        due.sort_by_key(|name| !lively.contains(&PipelineId::of(self.job.connector_id, name)));
        self.note_progress(|progress| progress.to_crawl = due.len());
        stream::iter(due)
            .map(|pipeline| self.crawl(pipeline))
            .buffer_unordered(CRAWLS_AT_ONCE)
            .try_for_each(|()| {
                self.note_progress(|progress| progress.crawled += 1);
                ready(Ok(()))
            })
            .await
    }

    /// The pipelines whose history was never read within the window, or not since a full sync was asked for; and of
    /// those that were read long ago a few, so that reconciling is spread over all polls.
    async fn due(&self, listed: &Listed) -> Result<Vec<String>, SyncError> {
        let read: BTreeMap<String, DateTime<Utc>> = self.crawled().await?.into_iter().collect();
        let is_fresh =
            |name: &String| read.get(name).is_some_and(|at| !self.job.full || *at >= self.job.requested_at);
        let mut due: Vec<String> = listed.iter().filter(|name| !is_fresh(name)).cloned().collect();
        if due.is_empty() {
            let long_ago = Utc::now() - RECONCILE_EVERY;
            let mut old: Vec<_> = listed.iter().filter_map(|name| Some((read.get(name)?, name))).collect();
            old.retain(|(at, _)| **at < long_ago);
            old.sort_unstable();
            due.extend(old.into_iter().take(self.share(listed.len())).map(|(_, name)| name.clone()));
        }
        Ok(due)
    }

    /// How many of so many histories one poll reads again, so that all are read in time.
    fn share(&self, pipelines: usize) -> usize {
        let since = self.job.confirmed_at.map_or(RECONCILE_EVERY, |at| Utc::now() - at);
        let part = since.as_seconds_f64() / RECONCILE_EVERY.as_seconds_f64();
        // Half as much again, for polls that fail.
        ((pipelines as f64 * part * 1.5).ceil() as usize).clamp(1, RECONCILE_MOST)
    }

    /// Which histories were read within the connector's window of days, and when.
    async fn crawled(&self) -> Result<Vec<(String, DateTime<Utc>)>, SyncError> {
        let crawled = sqlx::query_as(
            "select external_id, crawled_at from pipeline_crawls
             where connector_id = $1 and history_days >= $2 and crawled_at is not null",
        )
        .bind(self.job.connector_id)
        .bind(i32::from(self.job.config.history_days))
        .fetch_all(self.pool)
        .await?;
        Ok(crawled)
    }

    async fn crawl(&self, pipeline: String) -> Result<(), SyncError> {
        let began = Utc::now();
        let since = began - TimeDelta::days(self.job.config.history_days.into());
        match self.read_history(&pipeline, since).await {
            // It went between the listing and now; the next listing tells.
            Err(SyncError::Provider(ProviderError::Refused { status: 404, .. })) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => jobs::note_crawl(self.pool, self.job, &pipeline, began).await,
        }
    }

    async fn read_history(&self, pipeline: &str, since: DateTime<Utc>) -> Result<(), SyncError> {
        let id = PipelineId::of(self.job.connector_id, pipeline);
        let mut runs_here = self.runs_here(id, since).await?;
        let mut task_runs_here = self.task_runs_here(id, since).await?;
        let scope = RunScope::Pipeline { pipeline: pipeline.to_owned(), since };
        for run in self.read_runs(&scope).await?.keys() {
            runs_here.remove(run);
        }
        let scope = TaskRunScope::Pipeline { pipeline: pipeline.to_owned(), since };
        for task_run in self.read_task_runs(&scope).await? {
            task_runs_here.remove(&task_run);
        }
        self.graphs.note_due(id);
        self.delete_missing(runs_here, task_runs_here).await
    }

    /// Publishes the task runs of a scope and tells which there are.
    pub(super) async fn read_task_runs(
        &self,
        scope: &TaskRunScope,
    ) -> Result<BTreeSet<TaskRunId>, SyncError> {
        let mut read = BTreeSet::new();
        let mut page = None;
        loop {
            let seen = self.observe().await?;
            let found = self.provider.task_runs(scope, seen, page.as_ref()).await?;
            read.extend(found.items.iter().map(|task_run: &TaskRunObserved| task_run.id));
            self.take_task_runs(found.items).await?;
            page = found.next;
            if page.is_none() {
                return Ok(read);
            }
        }
    }

    async fn runs_here(
        &self,
        pipeline: PipelineId,
        since: DateTime<Utc>,
    ) -> Result<BTreeSet<RunId>, SyncError> {
        let runs: Vec<RunId> = sqlx::query_scalar(
            "select id from runs where pipeline_id = $1 and ordered_at >= $2 and deleted_at is null",
        )
        .bind(pipeline)
        .bind(since)
        .fetch_all(self.pool)
        .await?;
        Ok(runs.into_iter().collect())
    }

    async fn task_runs_here(
        &self,
        pipeline: PipelineId,
        since: DateTime<Utc>,
    ) -> Result<BTreeSet<TaskRunId>, SyncError> {
        let task_runs: Vec<TaskRunId> = sqlx::query_scalar(
            "select t.id from runs r join task_runs t on t.run_id = r.id
             where r.pipeline_id = $1 and r.ordered_at >= $2 and r.deleted_at is null and t.deleted_at is null",
        )
        .bind(pipeline)
        .bind(since)
        .fetch_all(self.pool)
        .await?;
        Ok(task_runs.into_iter().collect())
    }
}
