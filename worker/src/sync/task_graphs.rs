//! Task graphs. They may change without a change in any list: they are read with every history, and again
//! when a task was executed that the stored graph does not contain.

use std::collections::{BTreeMap, BTreeSet};

use contract::events::{PipelineObserved, TaskNode};
use contract::ids::PipelineId;
use futures::{StreamExt, stream};
use provider::ProviderError;
use uuid::Uuid;

use super::error::is_request_specific;
use super::{SyncError, SyncPass};
use crate::store::{entities, pipelines};

/// The ids of the tasks that were executed, by pipeline.
pub(super) type ExecutedTasks = BTreeMap<PipelineId, BTreeSet<String>>;

impl SyncPass<'_> {
    /// Reads the graphs again that lack an executed task. A graph that cannot be read now is read with its
    /// history.
    pub(super) async fn refresh_stale_graphs(&self, executed: &ExecutedTasks) -> Result<(), SyncError> {
        let executed =
            executed.iter().flat_map(|(pipeline, tasks)| tasks.iter().map(|task| (*pipeline, task.as_str())));
        let (pipeline_ids, tasks): (Vec<PipelineId>, Vec<&str>) = executed.unzip();
        if pipeline_ids.is_empty() {
            return Ok(());
        }
        let stale = pipelines::find_with_stale_graphs(self.pool, &pipeline_ids, &tasks).await?;
        if !stale.is_empty() {
            self.read_graphs(&stale).await?;
        }
        Ok(())
    }

    /// Reads the graphs of pipelines, by their external ids; returns those that could not be read.
    pub(super) async fn read_graphs(
        &self,
        names: &[String],
    ) -> Result<Vec<(String, ProviderError)>, SyncError> {
        let _guard = self.pipelines_lock.lock().await;
        self.await_read_model().await?;
        let connector = self.job.lease.connector_id;
        let ids: Vec<Uuid> = names.iter().map(|name| PipelineId::of(connector, name).0).collect();
        let seen = self.observe().await?;
        let stored = entities::find::<PipelineObserved>(self.pool, &ids).await?;
        let active = stored.into_iter().filter(|pipeline| pipeline.is_active);
        let mut reads = stream::iter(active.map(|pipeline| self.read_graph(pipeline)))
            .buffer_unordered(self.concurrency());
        let (mut read, mut unreadable) = (Vec::new(), Vec::new());
        while let Some((pipeline, outcome)) = reads.next().await {
            let (version, observed_at) = (seen.version, seen.at);
            match outcome {
                Ok(tasks) => read.push(PipelineObserved { version, observed_at, tasks, ..pipeline }),
                Err(ProviderError::Refused { status: 404, .. }) => {}
                Err(error) if is_request_specific(&error) => unreadable.push((pipeline.external_id, error)),
                Err(error) => return Err(error.into()),
            }
        }
        self.publisher.publish(read).await?;
        Ok(unreadable)
    }

    async fn read_graph(
        &self,
        pipeline: PipelineObserved,
    ) -> (PipelineObserved, Result<Vec<TaskNode>, ProviderError>) {
        let tasks = self.provider.tasks(&pipeline.external_id).await;
        (pipeline, tasks.map(|tasks| self.note(tasks)))
    }
}
