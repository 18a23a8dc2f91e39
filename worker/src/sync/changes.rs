//! Publishes the changes since the last sync, including changes that the provider's lists of changes leave
//! out: runs that are unfinished in the read model, runs whose task runs changed, and placeholders of mapped
//! tasks that have been expanded.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::{RunObserved, TaskRunObserved, UnreadableEntry, UserRef};
use contract::ids::{PipelineId, RunId, TaskRunId};
use contract::state::{EntityKind, TaskState};
use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use provider::{RunScope, TaskRunScope};
use uuid::Uuid;

use super::change_windows::ChangeWindow;
use super::error::is_unanswered;
use super::pages::ObservedItems;
use super::pipelines::ListedPipelines;
use super::task_graphs::ExecutedTasks;
use super::unread_lists::{CHANGED_RUNS, CHANGED_TASK_RUNS, UNFINISHED_RUNS, UnreadLists};
use super::{SyncError, SyncPass};
use crate::store::change_cursors::ChangeCursors;
use crate::store::runs::RunExternalIds;
use crate::store::{entities, histories, runs};

/// The age of the oldest changes that a first sync reads before it reads histories.
const NEWEST: TimeDelta = TimeDelta::minutes(15);
/// The maximum number of runs that a poll requests one by one, for each reason to do so.
pub(super) const MAX_REREADS: usize = 200;
/// The map index of the placeholder of a mapped task before it is expanded.
const UNMAPPED: i32 = -1;

/// Runs by id, with the external ids of pipeline and run.
pub(super) type RunsById = BTreeMap<RunId, RunExternalIds>;

/// The runs that were read, with their pipelines; and the runs among them that are older than any history.
#[derive(Default)]
pub(super) struct RunsRead {
    pub(super) runs: BTreeMap<RunId, PipelineId>,
    pub(super) older_than_history: RunsById,
}

/// The task runs that were read.
#[derive(Default)]
pub(super) struct TaskRunsRead {
    pub(super) ids: BTreeSet<TaskRunId>,
    /// The number of task runs that could not be read: a missing task run may be one of them.
    pub(super) lost: u64,
}

/// The pipelines of the runs that a poll has read.
pub(super) struct ActivePipelines {
    /// The pipelines with unfinished runs.
    pub(super) running: BTreeSet<PipelineId>,
    /// The unfinished runs themselves, as they were listed last in this poll.
    unfinished: Option<BTreeMap<RunId, PipelineId>>,
    /// The pipelines with unfinished or changed runs.
    pub(super) recently_active: BTreeSet<PipelineId>,
    pub(super) unread: UnreadLists,
    /// Everything before these times was read.
    pub(super) cursors: ChangeCursors,
}

impl ActivePipelines {
    fn at(cursors: ChangeCursors, unread: UnreadLists) -> Self {
        let (running, unfinished, recently_active) = Default::default();
        Self { running, unfinished, recently_active, unread, cursors }
    }

    /// Moves the cursors of the lists that were read up to this time; false if there is none.
    fn move_cursors(&mut self, until: DateTime<Utc>) -> bool {
        let before = self.cursors;
        if self.unread.error_of(CHANGED_RUNS).is_none() {
            self.cursors.runs = self.cursors.runs.max(until);
        }
        if self.unread.error_of(CHANGED_TASK_RUNS).is_none() {
            self.cursors.task_runs = self.cursors.task_runs.max(until);
        }
        self.cursors != before
    }
}

impl SyncPass<'_> {
    /// Publishes everything that changed since the cursors, window by window. The cursor of each list moves
    /// with each window, as long as the list is read.
    pub(super) async fn publish_changes(
        &self,
        cursors: ChangeCursors,
        now: DateTime<Utc>,
        listed: &ListedPipelines,
        unread: UnreadLists,
    ) -> Result<ActivePipelines, SyncError> {
        let overlap = self.job.overlap;
        let mut active = ActivePipelines::at(cursors, unread);
        for window in ChangeWindow::split(cursors.earliest() - overlap, now, overlap) {
            self.publish_window(window, listed, &mut active).await?;
            if active.move_cursors(window.until.unwrap_or(now)) && window.until.is_some() {
                self.move_cursors(active.cursors).await?;
            }
        }
        Ok(active)
    }

    /// Publishes everything that changed in a window, and the unfinished runs.
    async fn publish_window(
        &self,
        window: ChangeWindow,
        listed: &ListedPipelines,
        active: &mut ActivePipelines,
    ) -> Result<(), SyncError> {
        let RunsRead { mut runs, mut older_than_history } = self.publish_changed_runs(window, active).await?;
        let (mut changed, executed) = self.publish_changed_task_runs(window, active).await?;
        let is_last = window.until.is_none();
        runs.extend(self.publish_unfinished(is_last, active).await?);
        changed.retain(|run, _| !runs.contains_key(run));
        let mut stale = RunsById::new();
        if is_last && !active.unread.are_runs_refused() {
            stale = self.unread_unfinished_runs(&runs).await?;
        }
        stale.extend(self.limit_rereads(changed).await?);
        // The provider deletes a pipeline with its runs; the read model keeps them as last seen.
        stale.retain(|_, external_ids| listed.contains(&external_ids.pipeline));
        self.reread(stale).await?;
        older_than_history.retain(|_, external_ids| listed.contains(&external_ids.pipeline));
        self.complete_runs(older_than_history).await?;
        self.refresh_stale_graphs(&executed).await?;
        active.recently_active.extend(runs.into_values());
        Ok(())
    }

    /// Publishes the runs that changed in a window after their cursor.
    async fn publish_changed_runs(
        &self,
        window: ChangeWindow,
        active: &mut ActivePipelines,
    ) -> Result<RunsRead, SyncError> {
        let Some(window) = window.after(active.cursors.runs - self.job.overlap) else {
            return Ok(RunsRead::default());
        };
        let scope = window.runs();
        self.read_list(&mut active.unread, CHANGED_RUNS, self.publish_runs_of(&scope)).await
    }

    /// Publishes the task runs that changed in a window after their cursor; returns their runs, and the tasks
    /// that were executed. A refused list is refused for histories as well.
    async fn publish_changed_task_runs(
        &self,
        window: ChangeWindow,
        active: &mut ActivePipelines,
    ) -> Result<(RunsById, ExecutedTasks), SyncError> {
        let Some(window) = window.after(active.cursors.task_runs - self.job.overlap) else {
            return Ok((RunsById::new(), ExecutedTasks::new()));
        };
        let scope = window.task_runs();
        let task_runs = self.publish_task_runs_and_find_runs(&scope);
        let read = self.read_list(&mut active.unread, CHANGED_TASK_RUNS, task_runs).await?;
        let error = active.unread.error_of(CHANGED_TASK_RUNS);
        if let Some(error) = error.filter(|error| !is_unanswered(error)) {
            self.task_runs_error.get_or_init(|| error.clone());
        }
        Ok(read)
    }

    /// Publishes the unfinished runs in the first and in the last window of a poll, and returns those that
    /// were listed last: they have changed after the windows between.
    async fn publish_unfinished(
        &self,
        is_last: bool,
        active: &mut ActivePipelines,
    ) -> Result<BTreeMap<RunId, PipelineId>, SyncError> {
        if let (false, Some(unfinished)) = (is_last, &active.unfinished) {
            return Ok(unfinished.clone());
        }
        let unfinished = self.publish_runs_of(&RunScope::Unfinished);
        let unfinished = self.read_list(&mut active.unread, UNFINISHED_RUNS, unfinished).await?.runs;
        active.running = unfinished.values().copied().collect();
        active.unfinished = Some(unfinished.clone());
        Ok(unfinished)
    }

    /// Returns the runs if there are at most [`MAX_REREADS`]. Requesting more runs one by one would take too
    /// long: the histories of their pipelines become due instead, and no run is returned.
    async fn limit_rereads(&self, runs: RunsById) -> Result<RunsById, SyncError> {
        if runs.len() <= MAX_REREADS {
            return Ok(runs);
        }
        let pipelines: BTreeSet<&String> = runs.values().map(|external_ids| &external_ids.pipeline).collect();
        let connector = self.job.lease.connector_id;
        histories::mark_unread(self.pool, connector, &Vec::from_iter(pipelines)).await?;
        Ok(RunsById::new())
    }

    /// Publishes unfinished and just finished runs, so that a first sync shows the newest runs within
    /// seconds.
    pub(super) async fn publish_newest(
        &self,
        provider_clock: DateTime<Utc>,
    ) -> Result<ActivePipelines, SyncError> {
        let mut active = ActivePipelines::at(ChangeCursors::both(provider_clock), UnreadLists::default());
        let unfinished = self.publish_runs_of(&RunScope::Unfinished);
        let mut runs = self.read_list(&mut active.unread, UNFINISHED_RUNS, unfinished).await?.runs;
        active.running = runs.values().copied().collect();
        let scope = RunScope::ChangedSince(provider_clock - NEWEST);
        let changed = self.publish_runs_of(&scope);
        runs.extend(self.read_list(&mut active.unread, CHANGED_RUNS, changed).await?.runs);
        active.recently_active = runs.into_values().collect();
        Ok(active)
    }

    /// Publishes the runs of a scope and returns their ids and pipelines.
    pub(super) async fn publish_runs_of(&self, scope: &RunScope) -> Result<RunsRead, SyncError> {
        let mut read = RunsRead::default();
        let mut pages = pin!(self.run_pages(scope));
        while let Some(ObservedItems { observation, items: runs, permit, .. }) = pages.try_next().await? {
            let history_begin = observation.at - TimeDelta::days(self.job.config.history_days.into());
            for run in &runs {
                read.runs.insert(run.id, run.pipeline_id);
                if run.ordered_at().is_some_and(|at| at < history_begin) {
                    let (pipeline, name) = (run.pipeline_external_id.clone(), run.external_id.clone());
                    read.older_than_history.insert(run.id, RunExternalIds { pipeline, run: name });
                }
            }
            self.publish_runs(runs).await?;
            drop(permit);
        }
        Ok(read)
    }

    /// Publishes the task runs of a scope; returns their runs, and the tasks that were executed.
    async fn publish_task_runs_and_find_runs(
        &self,
        scope: &TaskRunScope,
    ) -> Result<(RunsById, ExecutedTasks), SyncError> {
        let (mut changed, mut executed) = (RunsById::new(), ExecutedTasks::new());
        let mut pages = pin!(self.task_run_pages(scope));
        while let Some(ObservedItems { items: task_runs, permit, .. }) = pages.try_next().await? {
            for task_run in &task_runs {
                let (pipeline, run) =
                    (task_run.pipeline_external_id.clone(), task_run.run_external_id.clone());
                changed.insert(task_run.run_id, RunExternalIds { pipeline, run });
                executed.entry(task_run.pipeline_id).or_default().insert(task_run.task_id.clone());
            }
            self.publish_task_runs(task_runs).await?;
            drop(permit);
        }
        Ok((changed, executed))
    }

    /// Publishes the task runs of a scope and returns their ids.
    pub(super) async fn publish_task_runs_of(&self, scope: TaskRunScope) -> Result<TaskRunsRead, SyncError> {
        let mut read = TaskRunsRead::default();
        let mut pages = pin!(self.task_run_pages(&scope));
        while let Some(ObservedItems { items: task_runs, lost, permit, .. }) = pages.try_next().await? {
            read.lost += lost;
            read.ids.extend(task_runs.iter().map(|task_run| task_run.id));
            self.publish_task_runs(task_runs).await?;
            drop(permit);
        }
        Ok(read)
    }

    /// Publishes runs with the user who triggered them, which only this service has stored.
    async fn publish_runs(&self, mut observed: Vec<RunObserved>) -> Result<(), SyncError> {
        let ids: Vec<RunId> = observed.iter().map(|run| run.id).collect();
        let triggered_by: BTreeMap<RunId, UserRef> = runs::find_triggered_by(self.pool, &ids).await?;
        for run in &mut observed {
            run.triggered_by = triggered_by.get(&run.id).cloned();
        }
        self.publisher.count(|report| report.runs_seen += observed.len() as u64);
        self.publisher.publish(observed).await?;
        self.update_progress(|_| {});
        Ok(())
    }

    /// Publishes task runs, and the deletion of the placeholders that they have superseded.
    async fn publish_task_runs(&self, observed: Vec<TaskRunObserved>) -> Result<(), SyncError> {
        let superseded = self.superseded_placeholders(&observed).await?;
        self.publisher.count(|report| report.task_runs_seen += observed.len() as u64);
        self.publisher.publish(observed).await?;
        self.publisher.publish(superseded).await?;
        self.update_progress(|_| {});
        Ok(())
    }

    /// When a mapped task is expanded, the provider renames its placeholder (index -1) and lists no change of
    /// it. A placeholder with the state `removed` is not superseded: its task was not mapped before, and both
    /// exist.
    async fn superseded_placeholders(
        &self,
        observed: &[TaskRunObserved],
    ) -> Result<Vec<TaskRunObserved>, SyncError> {
        let placeholder = |task_run: &TaskRunObserved| {
            let TaskRunObserved { pipeline_external_id, run_external_id, task_id, .. } = task_run;
            let connector = task_run.connector_id;
            TaskRunId::of(connector, pipeline_external_id, run_external_id, task_id, UNMAPPED).0
        };
        let mapped = observed.iter().filter(|task_run| task_run.map_index > UNMAPPED);
        let mut placeholders: BTreeMap<Uuid, &TaskRunObserved> =
            mapped.map(|task_run| (placeholder(task_run), task_run)).collect();
        for task_run in observed {
            placeholders.remove(&task_run.id.0);
        }
        let ids = Vec::from_iter(placeholders.keys().copied());
        let stored = entities::find::<TaskRunObserved>(self.pool, &ids).await?;
        let superseded =
            stored.into_iter().filter(|stored| !stored.deleted && stored.status != TaskState::Removed);
        let deleted = superseded.map(|stored| {
            let TaskRunObserved { version, observed_at, .. } = *placeholders[&stored.id.0];
            TaskRunObserved { version, observed_at, deleted: true, ..stored }
        });
        Ok(deleted.collect())
    }

    /// Finds runs that are unfinished in the read model, although the provider has not listed them.
    async fn unread_unfinished_runs(
        &self,
        read: &BTreeMap<RunId, PipelineId>,
    ) -> Result<RunsById, SyncError> {
        let read = Vec::from_iter(read.keys().copied());
        let connector = self.job.lease.connector_id;
        Ok(runs::find_unfinished(self.pool, connector, &read, MAX_REREADS as i64).await?)
    }

    /// Requests runs one by one. A run that the provider no longer has is deleted with its task runs.
    pub(super) async fn reread(&self, runs: RunsById) -> Result<(), SyncError> {
        let rereads = runs.into_iter().map(|(id, external_ids)| self.reread_one(id, external_ids));
        stream::iter(rereads).buffer_unordered(self.concurrency()).try_for_each(|()| ready(Ok(()))).await
    }

    async fn reread_one(&self, id: RunId, external_ids: RunExternalIds) -> Result<(), SyncError> {
        let observation = self.observe().await?;
        let RunExternalIds { pipeline, run } = &external_ids;
        let request = async { Ok(self.provider.run(pipeline, run, observation).await?) };
        match self.request_one(request).await? {
            Ok(Some(observed)) => self.publish_runs(vec![self.note(observed)]).await,
            Ok(None) => self.delete_run(id, observation).await,
            Err(error) => {
                let run = format!("{pipeline}/{run}");
                let entry = UnreadableEntry::new(EntityKind::Run, &run, &error.to_string());
                self.publisher.note_unreadable(entry.into());
                Ok(())
            }
        }
    }
}
