//! Task graphs, which may change without a word in any list: they are read with every history, and again when a task
//! ran that they do not know.

use std::collections::{BTreeMap, BTreeSet};

use contract::events::{PipelineObserved, TaskNode};
use contract::ids::PipelineId;
use futures::{StreamExt, stream};
use provider::ProviderError;
use uuid::Uuid;

use super::error::is_about_one;
use super::{Sync, SyncError};
use crate::project::find;

/// Which tasks ran.
pub(super) type Ran = BTreeMap<PipelineId, BTreeSet<String>>;

impl Sync<'_> {
    /// Reads the graphs anew that do not know a task that ran. One that cannot be read now comes with its history.
    pub(super) async fn read_doubtful_graphs(&self, ran: &Ran) -> Result<(), SyncError> {
        let ran =
            ran.iter().flat_map(|(pipeline, tasks)| tasks.iter().map(|task| (pipeline.0, task.as_str())));
        let (pipelines, tasks): (Vec<Uuid>, Vec<&str>) = ran.unzip();
        if pipelines.is_empty() {
            return Ok(());
        }
        let doubtful: Vec<String> = sqlx::query_scalar(
            "select distinct p.external_id from unnest($1::uuid[], $2::text[]) ran (pipeline_id, task_id)
             join pipelines p on p.id = ran.pipeline_id
             where not p.tasks @> jsonb_build_array(jsonb_build_object('task_id', ran.task_id))",
        )
        .bind(pipelines)
        .bind(tasks)
        .fetch_all(self.pool)
        .await?;
        match doubtful.is_empty() {
            true => Ok(()),
            false => self.read_graphs(&doubtful).await.map(drop),
        }
    }

    /// Reads the graphs of some pipelines; tells which could not be read.
    pub(super) async fn read_graphs(
        &self,
        names: &[String],
    ) -> Result<Vec<(String, ProviderError)>, SyncError> {
        let _alone = self.pipelines.lock().await;
        self.await_read_model().await?;
        let ids: Vec<Uuid> = names.iter().map(|name| PipelineId::of(self.job.connector_id, name).0).collect();
        let seen = self.observe().await?;
        let known = find::<PipelineObserved>(self.pool, &ids).await?;
        let graphs = known.into_iter().filter(|known| known.is_active).map(|known| self.read_graph(known));
        let mut graphs = stream::iter(graphs).buffer_unordered(self.at_once());
        let (mut read, mut unreadable) = (Vec::new(), Vec::new());
        while let Some((pipeline, outcome)) = graphs.next().await {
            let (version, observed_at) = (seen.version, seen.at);
            match outcome {
                Ok(tasks) => read.push(PipelineObserved { version, observed_at, tasks, ..pipeline }),
                Err(ProviderError::Refused { status: 404, .. }) => {}
                Err(error) if is_about_one(&error) => unreadable.push((pipeline.external_id, error)),
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
        (pipeline, tasks)
    }
}
