//! Histories: the runs and task runs of a pipeline within the connector's window of days. A first sync, a
//! full one and one that resumes after a crash all read the histories that were not read since.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contract::ids::PipelineId;
use futures::{StreamExt, stream};
use provider::{ProviderError, RunScope, TaskRunScope};

use super::error::is_request_specific;
use super::{CompletedPoll, SyncError, SyncPass};
use crate::store::retention::StoredRetention;
use crate::store::{histories, runs, task_runs};

/// How often every history is read again, to find what no list of changes contains: deletions and notes.
const RECONCILE_INTERVAL: TimeDelta = TimeDelta::hours(6);
/// The task graphs of so many pipelines are read at once, before their histories.
const CHUNK: usize = 100;
/// A sync ends after more unreadable histories: the cause is then hardly a single pipeline.
const MAX_UNREADABLE: usize = 5;

/// A pipeline whose history could not be read, by its external id.
type UnreadableHistory = (String, ProviderError);

impl SyncPass<'_> {
    /// Returns the pipelines whose history was never read within the window, or not since the latest full
    /// sync was requested; and a few of those that were read long ago, so that reconciliation is spread over
    /// all polls. Recently active pipelines come first.
    pub(super) async fn due_histories(&self, poll: &CompletedPoll) -> Result<Vec<String>, SyncError> {
        let connector = self.job.lease.connector_id;
        let read_at = histories::find_read(self.pool, connector, self.history_days()).await?;
        let is_read = |name: &String| {
            read_at.get(name).is_some_and(|at| self.job.full_since.is_none_or(|full| *at >= full))
        };
        let (read, mut due): (Vec<_>, Vec<_>) = poll.listed.iter().cloned().partition(is_read);
        // Each lease starts with another one, so that unreadable histories do not block the others.
        let offset = self.job.lease.epoch.unsigned_abs() as usize % due.len().max(1);
        due.rotate_left(offset);
        due.sort_by_key(|name| !poll.recently_active.contains(&PipelineId::of(connector, name)));
        let reconcile_before = poll.began_at - RECONCILE_INTERVAL;
        let mut old: Vec<_> = read.into_iter().filter(|name| read_at[name] < reconcile_before).collect();
        old.sort_by_key(|name| read_at[name]);
        old.truncate(self.reconcile_budget(poll));
        due.extend(old);
        Ok(due)
    }

    fn history_days(&self) -> i32 {
        self.job.config.history_days.into()
    }

    /// How many histories one poll reads again, so that all of them are read within the interval.
    fn reconcile_budget(&self, poll: &CompletedPoll) -> usize {
        let since_last = self.job.confirmed_at.map_or(RECONCILE_INTERVAL, |at| poll.began_at - at);
        let share = since_last.as_seconds_f64() / RECONCILE_INTERVAL.as_seconds_f64();
        // Half as many again, to make up for failed polls.
        (poll.listed.len() as f64 * share * 1.5).ceil() as usize
    }

    /// Reads histories, a few at a time, and records each that is complete. An unreadable one does not block
    /// the others.
    pub(super) async fn read_histories(&self, due: &[String]) -> Result<(), SyncError> {
        self.update_progress(|progress| progress.histories_due = due.len());
        let retention = StoredRetention::find(self.pool).await?;
        let mut unreadable = Vec::new();
        for chunk in due.chunks(CHUNK) {
            unreadable.extend(self.read_graphs(chunk).await?);
            self.read_chunk(chunk, retention, &mut unreadable).await?;
            if unreadable.len() > MAX_UNREADABLE {
                break;
            }
        }
        let count = unreadable.len();
        match unreadable.into_iter().next() {
            None => Ok(()),
            Some((_, error)) if count > MAX_UNREADABLE => Err(error.into()),
            Some((first, error)) => Err(SyncError::Unreadable { count, of: due.len(), first, error }),
        }
    }

    async fn read_chunk(
        &self,
        names: &[String],
        retention: StoredRetention,
        unreadable: &mut Vec<UnreadableHistory>,
    ) -> Result<(), SyncError> {
        let reads = names.iter().cloned().map(|name| self.read_named_history(name, retention));
        let mut reads = stream::iter(reads).buffer_unordered(self.concurrency());
        while let Some((name, outcome)) = reads.next().await {
            match outcome {
                // The pipeline was deleted after the listing; the next listing finds that out.
                Ok(()) | Err(SyncError::Provider(ProviderError::Refused { status: 404, .. })) => {
                    self.update_progress(|progress| progress.histories_read += 1);
                }
                Err(SyncError::Provider(error)) if is_request_specific(&error) => {
                    unreadable.push((name, error));
                }
                Err(error) => return Err(error),
            }
            if unreadable.len() > MAX_UNREADABLE {
                break;
            }
        }
        Ok(())
    }

    async fn read_named_history(
        &self,
        name: String,
        retention: StoredRetention,
    ) -> (String, Result<(), SyncError>) {
        let outcome = self.read_history(&name, retention).await;
        (name, outcome)
    }

    async fn read_history(&self, pipeline: &str, retention: StoredRetention) -> Result<(), SyncError> {
        let started_at = self.observe().await?.at;
        let (since, task_runs_since) = (
            self.history_begin(started_at, retention.runs),
            self.history_begin(started_at, retention.task_runs),
        );
        let id = PipelineId::of(self.job.lease.connector_id, pipeline);
        let mut missing_runs: BTreeSet<_> = runs::find_ids_since(self.pool, id, since).await?;
        let mut missing_task_runs: BTreeSet<_> =
            task_runs::find_ids_since(self.pool, id, task_runs_since).await?;
        let scope = RunScope::Pipeline { pipeline: pipeline.to_owned(), since };
        for run in self.read_runs(&scope).await?.runs.keys() {
            missing_runs.remove(run);
        }
        let scope = TaskRunScope::Pipeline { pipeline: pipeline.to_owned(), since: task_runs_since };
        for task_run in self.read_task_runs(scope).await?.ids {
            missing_task_runs.remove(&task_run);
        }
        self.delete_missing(missing_runs, missing_task_runs).await?;
        let (lease, days) = (self.job.lease, self.history_days());
        let recorded = histories::record_read(self.pool, lease, pipeline, started_at, days).await?;
        if recorded { Ok(()) } else { Err(SyncError::LeaseLost) }
    }

    /// The begin of a history: what retention would remove at once is not read.
    fn history_begin(&self, now: DateTime<Utc>, retention_days: Option<i32>) -> DateTime<Utc> {
        let days = retention_days.map_or(self.history_days(), |days| days.min(self.history_days()));
        now - TimeDelta::days(days.into())
    }
}
