//! Runs that are older than any history, of which only some task runs may be stored: all of their task runs
//! are read one run after another, so many in each poll.

use contract::state::EntityKind;
use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use provider::TaskRunScope;

use super::changes::{MAX_REREADS, RunsById, TaskRunsRead};
use super::{SyncError, SyncPass};
use crate::store::runs::RunExternalIds;
use crate::store::{incomplete_runs, task_runs};

impl SyncPass<'_> {
    /// Publishes all task runs of these runs and of those that earlier polls have left, up to a limit. The
    /// rest is left to the next polls.
    pub(super) async fn complete_runs(&self, runs: RunsById) -> Result<(), SyncError> {
        let connector = self.job.lease.connector_id;
        let is_readable = self.task_runs_error.get().is_none();
        let limit = if is_readable { MAX_REREADS } else { 0 };
        let earlier = incomplete_runs::find(self.pool, connector, limit as i64).await?;
        let mut runs = runs.into_values();
        let now: Vec<_> = runs.by_ref().take(limit.saturating_sub(earlier.len())).collect();
        incomplete_runs::insert(self.pool, connector, &Vec::from_iter(runs)).await?;
        let reads = earlier.iter().cloned().chain(now).map(|run| self.publish_or_report_task_runs(run));
        stream::iter(reads).buffer_unordered(self.concurrency()).try_for_each(|_| ready(Ok(()))).await?;
        Ok(incomplete_runs::delete(self.pool, connector, &earlier).await?)
    }

    /// Leaves those of these runs to the next polls of which no task run is stored.
    pub(super) async fn complete_runs_later(&self, runs: RunsById) -> Result<(), SyncError> {
        let ids = Vec::from_iter(runs.keys().copied());
        let complete = task_runs::find_runs_with_any(self.pool, &ids).await?;
        let incomplete = runs.into_iter().filter(|(id, _)| !complete.contains(id)).map(|(_, run)| run);
        let connector = self.job.lease.connector_id;
        Ok(incomplete_runs::insert(self.pool, connector, &Vec::from_iter(incomplete)).await?)
    }

    /// Publishes the task runs of a run, or reports the run if they cannot be read.
    pub(super) async fn publish_or_report_task_runs(
        &self,
        RunExternalIds { pipeline, run }: RunExternalIds,
    ) -> Result<Option<TaskRunsRead>, SyncError> {
        let id = format!("{pipeline}/{run}");
        match self.request_one(self.publish_task_runs_of(TaskRunScope::Run { pipeline, run })).await? {
            Ok(read) => Ok(Some(read)),
            Err(error) => {
                let reason = format!("its task runs cannot be read: {error}");
                self.publisher.report_unreadable(EntityKind::Run, &id, &reason);
                Ok(None)
            }
        }
    }
}
