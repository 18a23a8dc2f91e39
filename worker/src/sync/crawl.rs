//! Histories: a pipeline's runs and task runs, read through within the connector's window of days. A first sync, a
//! full one and one that goes on after a crash all ask the same: which histories were not read since?

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::TaskRunObserved;
use contract::ids::{PipelineId, RunId, TaskRunId};
use futures::{StreamExt, stream};
use provider::{ProviderError, RunScope, TaskRunScope};

use super::error::is_about_one;
use super::{Polled, Sync, SyncError, jobs};
use crate::retention::Kept;

/// How often every history is read again, to find what no list of changes tells: deletions and notes.
const RECONCILE_EVERY: TimeDelta = TimeDelta::hours(6);
/// Of so many pipelines the task graphs are read in one go, before their histories.
const CHUNK: usize = 100;
/// More histories that cannot be read end a sync: then it is hardly for reasons of their own.
const UNREADABLE_MOST: usize = 5;

impl Sync<'_> {
    /// The pipelines whose history was never read within the window, or not since a full sync was asked for; and of
    /// those that were read long ago a few, so that reconciling is spread over all polls. Pipelines that are lively
    /// now come first.
    pub(super) async fn due(&self, polled: &Polled) -> Result<Vec<String>, SyncError> {
        let read: BTreeMap<String, DateTime<Utc>> = self.crawled().await?.into_iter().collect();
        let is_fresh = |name: &String| {
            read.get(name).is_some_and(|at| self.job.full_since.is_none_or(|full| *at >= full))
        };
        let (fresh, mut due): (Vec<_>, Vec<_>) = polled.listed.iter().cloned().partition(is_fresh);
        // Each lease begins elsewhere, so that those that cannot be read do not keep the others waiting for ever.
        let begin = self.job.epoch.unsigned_abs() as usize % due.len().max(1);
        due.rotate_left(begin);
        due.sort_by_key(|name| !polled.lively.contains(&PipelineId::of(self.job.connector_id, name)));
        let long_ago = polled.began - RECONCILE_EVERY;
        let mut old: Vec<_> = fresh.into_iter().filter(|name| read[name] < long_ago).collect();
        old.sort_by_key(|name| read[name]);
        old.truncate(self.share(polled));
        due.extend(old);
        Ok(due)
    }

    /// How many of all histories one poll reads again, so that all are read in time.
    fn share(&self, polled: &Polled) -> usize {
        let since = self.job.confirmed_at.map_or(RECONCILE_EVERY, |at| polled.began - at);
        let part = since.as_seconds_f64() / RECONCILE_EVERY.as_seconds_f64();
        // Half as much again, for polls that fail.
        (polled.listed.len() as f64 * part * 1.5).ceil() as usize
    }

    /// Reads histories, a few at a time, noting each as it is done. One that cannot be read holds up no other.
    pub(super) async fn crawl_all(&self, due: &[String]) -> Result<(), SyncError> {
        self.note_progress(|progress| progress.to_crawl = due.len());
        let kept = Kept::read(self.pool).await?;
        let mut unreadable = Vec::new();
        for chunk in due.chunks(CHUNK) {
            unreadable.extend(self.read_graphs(chunk).await?);
            self.crawl_some(chunk, kept, &mut unreadable).await?;
            if unreadable.len() > UNREADABLE_MOST {
                break;
            }
        }
        let count = unreadable.len();
        match unreadable.into_iter().next() {
            None => Ok(()),
            Some((_, error)) if count > UNREADABLE_MOST => Err(error.into()),
            Some((first, error)) => Err(SyncError::Unreadable { count, of: due.len(), first, error }),
        }
    }

    async fn crawl_some(
        &self,
        names: &[String],
        kept: Kept,
        unreadable: &mut Vec<(String, ProviderError)>,
    ) -> Result<(), SyncError> {
        let histories = names.iter().cloned().map(|name| self.crawl(name, kept));
        let mut histories = stream::iter(histories).buffer_unordered(self.at_once());
        while let Some((name, outcome)) = histories.next().await {
            match outcome {
                Ok(()) => self.note_progress(|progress| progress.crawled += 1),
                Err(SyncError::Provider(error)) if is_about_one(&error) => {
                    unreadable.push((name, error));
                }
                Err(error) => return Err(error),
            }
            if unreadable.len() > UNREADABLE_MOST {
                break;
            }
        }
        Ok(())
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

    async fn crawl(&self, pipeline: String, kept: Kept) -> (String, Result<(), SyncError>) {
        let outcome = match self.read_history(&pipeline, kept).await {
            // It went between the listing and now; the next listing tells.
            Err(SyncError::Provider(ProviderError::Refused { status: 404, .. })) => Ok(()),
            outcome => outcome,
        };
        (pipeline, outcome)
    }

    async fn read_history(&self, pipeline: &str, kept: Kept) -> Result<(), SyncError> {
        let began = self.observe().await?.at;
        let history_days = i32::from(self.job.config.history_days);
        // What would be removed at once is not asked for.
        let reach = |kept: Option<i32>| {
            began - TimeDelta::days(kept.map_or(history_days, |days| days.min(history_days)).into())
        };
        let (since, tasks_since) = (reach(kept.runs), reach(kept.task_runs));
        let id = PipelineId::of(self.job.connector_id, pipeline);
        let mut runs_here = self.runs_here(id, since).await?;
        let mut task_runs_here = self.task_runs_here(id, tasks_since).await?;
        let scope = RunScope::Pipeline { pipeline: pipeline.to_owned(), since };
        for run in self.read_runs(&scope).await?.runs.keys() {
            runs_here.remove(run);
        }
        let scope = TaskRunScope::Pipeline { pipeline: pipeline.to_owned(), since: tasks_since };
        for task_run in self.read_task_runs(scope).await? {
            task_runs_here.remove(&task_run);
        }
        self.delete_missing(runs_here, task_runs_here).await?;
        jobs::note_crawl(self.pool, self.job, pipeline, began).await
    }

    /// Publishes the task runs of a scope and tells which there are.
    pub(super) async fn read_task_runs(&self, scope: TaskRunScope) -> Result<BTreeSet<TaskRunId>, SyncError> {
        let mut read = BTreeSet::new();
        let mut page = None;
        loop {
            let seen = self.observe().await?;
            let found = self.provider.task_runs(&scope, seen, page.as_ref()).await?;
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
