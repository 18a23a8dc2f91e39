//! Task graphs, and the time zones of schedules. They may change without a change in any list, so they are
//! read with every history, and again when an executed task is not in the stored graph.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use contract::events::{PipelineObserved, TaskNode};
use contract::ids::PipelineId;
use futures::{StreamExt, stream};
use provider::ProviderError;
use uuid::Uuid;

use super::back_off::PipelinePart;
use super::{SyncError, SyncPass};
use crate::store::{entities, histories, pipelines};

/// The ids of the tasks that were executed, by pipeline.
pub(super) type ExecutedTasks = BTreeMap<PipelineId, BTreeSet<String>>;

impl SyncPass<'_> {
    /// Reads the graphs again that lack an executed task. An unreadable graph backs off.
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

    /// Reads the graphs of pipelines, by their external ids. An unreadable graph is reported, backs off, and
    /// stays unchanged.
    pub(super) async fn read_graphs(&self, names: &[String]) -> Result<(), SyncError> {
        let _guard = self.pipelines_lock.lock().await;
        self.await_read_model().await?;
        let connector = self.job.lease.connector_id;
        let in_backoff = self.graphs_in_backoff().await?;
        let in_backoff = in_backoff.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let names = names.iter().filter(|name| !in_backoff.contains(*name));
        let ids: Vec<Uuid> = names.map(|name| PipelineId::of(connector, name).0).collect();
        let observation = self.observe().await?;
        let stored = entities::find::<PipelineObserved>(self.pool, &ids).await?;
        let active = stored.into_iter().filter(|pipeline| pipeline.is_active);
        let mut reads = stream::iter(active.map(|pipeline| self.read_graph(pipeline)))
            .buffer_unordered(self.concurrency());
        let mut read = Vec::new();
        while let Some(outcome) = reads.next().await {
            if let Some(pipeline) = outcome? {
                let (version, observed_at) = (observation.version, observation.at);
                read.push(PipelineObserved { version, observed_at, ..pipeline });
            }
        }
        let names = Vec::from_iter(read.iter().map(|pipeline| &pipeline.external_id));
        histories::reset_graph_failures(self.pool, connector, &names).await?;
        self.publisher.publish(read).await
    }

    /// Returns a pipeline with its graph and its time zone; none when the graph cannot be read.
    async fn read_graph(&self, pipeline: PipelineObserved) -> Result<Option<PipelineObserved>, SyncError> {
        match self.request_graph(&pipeline.external_id, &pipeline.tasks).await? {
            Some(tasks) => self.with_time_zone(PipelineObserved { tasks, ..pipeline }).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reads the time zone of a pipeline that has a schedule. One that cannot be read stays as it was.
    pub(super) async fn with_time_zone(
        &self,
        pipeline: PipelineObserved,
    ) -> Result<PipelineObserved, SyncError> {
        if pipeline.schedule.is_none() {
            return Ok(provider::with_time_zone(pipeline, None));
        }
        let request = async { Ok(self.provider.time_zone(&pipeline.external_id).await?) };
        match self.request_one(request).await? {
            Ok(zone) => Ok(provider::with_time_zone(pipeline, zone)),
            Err(error) => {
                tracing::debug!(%error, pipeline = %pipeline.id, "time zone not read");
                Ok(pipeline)
            }
        }
    }

    /// Requests the graph of a pipeline with this stored graph; none when it cannot be read, or the provider
    /// does not have the pipeline. An empty graph does not replace a stored one.
    pub(super) async fn request_graph(
        &self,
        pipeline: &str,
        stored: &[TaskNode],
    ) -> Result<Option<Vec<TaskNode>>, SyncError> {
        let request = async { Ok(self.provider.tasks(pipeline).await?) };
        let reason = match self.request_one(request).await? {
            Ok(tasks) if tasks.value.is_empty() && !stored.is_empty() => {
                self.note(tasks);
                "its task graph is empty now; the last one stays".to_owned()
            }
            Ok(tasks) => return Ok(Some(self.note(tasks))),
            Err(ProviderError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => format!("its task graph cannot be read: {error}"),
        };
        self.back_off(PipelinePart::TaskGraph, pipeline, &reason).await?;
        Ok(None)
    }
}
