//! Histories: the runs and task runs of a pipeline within the connector's window of days. A first sync, a
//! full sync and a sync after a crash all read the histories that are not marked as read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contract::ids::{PipelineId, TaskRunId};
use futures::{StreamExt, stream};
use provider::{ProviderError, RunScope, TaskRunScope};

use super::back_off::PipelinePart;
use super::changes::RunsRead;
use super::error::is_unanswered;
use super::{CompletedPoll, SyncError, SyncPass};
use crate::store::retention::StoredRetention;
use crate::store::{histories, runs, task_runs};

/// The interval at which every history is read again, because no list of changes contains deletions and
/// notes.
const RECONCILE_INTERVAL: TimeDelta = TimeDelta::hours(6);
/// Number of pipelines whose task graphs are read at once, before their histories.
const CHUNK: usize = 100;
/// After this time a history is read without a permit.
const HISTORY_PERMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// A sync fails when more histories than this cannot be read for one cause, or more than one in
/// `UNREADABLE_RATIO` of all if that is more: the cause is then hardly a single pipeline.
const MIN_UNREADABLE: usize = 5;
const UNREADABLE_RATIO: usize = 5;

/// The histories that could not be read in a sync.
#[derive(Default)]
struct UnreadableHistories {
    count: usize,
    by_cause: BTreeMap<(&'static str, u16), usize>,
    first: Option<(String, ProviderError)>,
}

impl UnreadableHistories {
    fn add(&mut self, pipeline: String, error: ProviderError) {
        self.count += 1;
        *self.by_cause.entry(cause(&error)).or_default() += 1;
        self.first.get_or_insert((pipeline, error));
    }

    /// The number of histories that could not be read for the most frequent cause.
    fn of_one_cause(&self) -> usize {
        self.by_cause.values().copied().max().unwrap_or_default()
    }
}

/// How many lists of task runs were answered for the histories of a pass, and how many were not.
#[derive(Default)]
pub(super) struct TaskRunLists {
    answered: AtomicUsize,
    unanswered: AtomicUsize,
}

impl TaskRunLists {
    /// Counts a list that was not answered; true if these are too many for a matter of single pipelines.
    fn count_unanswered(&self) -> bool {
        let unanswered = self.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        let requested = self.answered.load(Ordering::Relaxed) + unanswered;
        unanswered > MIN_UNREADABLE.max(requested / UNREADABLE_RATIO)
    }
}

/// Errors of one kind and status have the same cause.
fn cause(error: &ProviderError) -> (&'static str, u16) {
    match error {
        ProviderError::Failing { status, .. } => ("failing", *status),
        ProviderError::Forbidden { status, .. } => ("forbidden", *status),
        ProviderError::Refused { status, .. } => ("refused", *status),
        ProviderError::Malformed { .. } => ("malformed", 0),
        ProviderError::Oversized { .. } => ("oversized", 0),
        ProviderError::Unreachable { .. } => ("unanswered", 0),
        _ => ("other", 0),
    }
}

impl SyncPass<'_> {
    /// Returns the pipelines whose history was never read within the window, or not since the latest full
    /// sync was requested; and a few pipelines whose history was read before the reconcile interval, so that
    /// reconciliation is spread over all polls. Recently active pipelines come first.
    pub(super) async fn due_histories(&self, poll: &CompletedPoll) -> Result<Vec<String>, SyncError> {
        let connector = self.job.lease.connector_id;
        let read_at = histories::find_read(self.pool, connector, self.history_days()).await?;
        let in_backoff = self.find_histories_in_backoff().await?;
        let is_read = |name: &String| {
            read_at.get(name).is_some_and(|at| self.job.full_since.is_none_or(|full| *at >= full))
        };
        let ready = poll.listed.iter().filter(|name| !in_backoff.contains(*name)).cloned();
        let (read, mut due): (Vec<_>, Vec<_>) = ready.partition(is_read);
        self.report_in_backoff(in_backoff.iter().filter(|name| poll.listed.contains(*name)));
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

    /// The number of histories that one poll reads again, so that all of them are read within the interval.
    fn reconcile_budget(&self, poll: &CompletedPoll) -> usize {
        let since_last = self.job.confirmed_at.map_or(RECONCILE_INTERVAL, |at| poll.began_at - at);
        let share = since_last.as_seconds_f64() / RECONCILE_INTERVAL.as_seconds_f64();
        // Half as many again, to make up for failed polls.
        (poll.listed.len() as f64 * share * 1.5).ceil() as usize
    }

    /// Reads histories, a few at a time, and records each that is complete. An unreadable one is reported and
    /// backs off; it does not block the others.
    ///
    /// # Errors
    /// When too many histories cannot be read for one cause, or not a single one of the connector.
    pub(super) async fn read_histories(&self, due: &[String], listed: usize) -> Result<(), SyncError> {
        self.update_progress(|progress| progress.histories_due = due.len());
        let retention = StoredRetention::find(self.pool).await?;
        let mut unreadable = UnreadableHistories::default();
        let limit = MIN_UNREADABLE.max(listed / UNREADABLE_RATIO);
        for chunk in due.chunks(CHUNK) {
            self.read_graphs(chunk).await?;
            self.read_chunk(chunk, retention, &mut unreadable, limit).await?;
            if unreadable.of_one_cause() > limit {
                break;
            }
        }
        let is_nothing_read = unreadable.count == due.len() && due.len() == listed;
        let is_stopped = unreadable.of_one_cause() > limit;
        let UnreadableHistories { count, first, .. } = unreadable;
        match first {
            Some((first, error)) if is_stopped || is_nothing_read => {
                Err(SyncError::Unreadable { count, of: due.len(), first, error })
            }
            _ => Ok(()),
        }
    }

    async fn read_chunk(
        &self,
        names: &[String],
        retention: StoredRetention,
        unreadable: &mut UnreadableHistories,
        limit: usize,
    ) -> Result<(), SyncError> {
        let reads = names.iter().cloned().map(|name| self.read_named_history(name, retention));
        let mut reads = stream::iter(reads).buffer_unordered(self.concurrency());
        while let Some((name, outcome)) = reads.next().await {
            match outcome {
                // The pipeline was deleted after the listing; the next listing finds that out.
                Ok(()) | Err(SyncError::Provider(ProviderError::Refused { status: 404, .. })) => {
                    self.update_progress(|progress| progress.histories_read += 1);
                }
                // Only the task runs are missing, so this does not count as an unreadable history.
                Err(error @ SyncError::UnreadTaskRuns(_)) => {
                    self.back_off(PipelinePart::History, &name, &error.to_string()).await?;
                }
                Err(SyncError::Provider(error)) => {
                    let error = self.specific(error).await?;
                    let reason = format!("its history cannot be read: {error}");
                    self.back_off(PipelinePart::History, &name, &reason).await?;
                    unreadable.add(name, error);
                }
                Err(error) => return Err(error),
            }
            if unreadable.of_one_cause() > limit {
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
        // First come, first served, so that connectors with long histories take turns. Histories that hang do
        // not stop the others.
        let permit = tokio::time::timeout(HISTORY_PERMIT_TIMEOUT, self.history_permits.acquire()).await;
        let outcome = self.read_history(&name, retention).await;
        drop(permit);
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
        let RunsRead { runs, older_than_history } = self.publish_runs_of(&scope).await?;
        for run in runs.keys() {
            missing_runs.remove(run);
        }
        self.complete_runs_later(older_than_history).await?;
        let scope = TaskRunScope::Pipeline { pipeline: pipeline.to_owned(), since: task_runs_since };
        for task_run in self.publish_history_task_runs(scope).await? {
            missing_task_runs.remove(&task_run);
        }
        self.delete_missing(missing_runs, missing_task_runs).await?;
        let (lease, days) = (self.job.lease, self.history_days());
        let marked = histories::mark_read(self.pool, lease, pipeline, started_at, days).await?;
        if marked { Ok(()) } else { Err(SyncError::LeaseLost) }
    }

    /// Publishes the task runs of a history. Once too many of these lists were not answered, no further one
    /// is requested.
    async fn publish_history_task_runs(&self, scope: TaskRunScope) -> Result<BTreeSet<TaskRunId>, SyncError> {
        if let Some(error) = self.task_runs_error.get() {
            return Err(SyncError::UnreadTaskRuns(error.clone()));
        }
        match self.publish_task_runs_of(scope).await {
            Ok(read) => {
                self.task_run_lists.answered.fetch_add(1, Ordering::Relaxed);
                Ok(read.ids)
            }
            Err(SyncError::Provider(error)) if is_unanswered(&error) => {
                let error = self.specific(error).await?;
                if self.task_run_lists.count_unanswered() {
                    self.task_runs_error.get_or_init(|| error.clone());
                }
                Err(SyncError::UnreadTaskRuns(error))
            }
            Err(SyncError::Provider(error @ ProviderError::Forbidden { .. })) => {
                Err(SyncError::UnreadTaskRuns(error))
            }
            Err(error) => Err(error),
        }
    }

    /// The begin of a history: rows that retention would remove immediately are not read.
    fn history_begin(&self, now: DateTime<Utc>, retention_days: Option<i32>) -> DateTime<Utc> {
        let days = retention_days.map_or(self.history_days(), |days| days.min(self.history_days()));
        now - TimeDelta::days(days.into())
    }
}
