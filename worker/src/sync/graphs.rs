//! Task graphs that changed without a word: the list of pipelines does not tell. They are read with every history, and
//! when a task ran that its pipeline's graph does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, stream};
use shared::events::{PipelineObserved, TaskNode, TaskRunObserved};
use shared::ids::PipelineId;
use shared::provider::ProviderError;
use uuid::Uuid;

use super::error::is_about_one;
use super::{AT_ONCE, Sync, SyncError};
use crate::project::find;

/// Which tasks ran, as this sync saw it on its way.
#[derive(Default)]
pub struct Graphs(Mutex<Ran>);

type Ran = BTreeMap<PipelineId, BTreeSet<String>>;

impl Graphs {
    pub(super) fn note_ran(&self, task_runs: &[TaskRunObserved]) {
        let mut ran = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for task_run in task_runs {
            let tasks = ran.entry(task_run.pipeline_id).or_default();
            if !tasks.contains(&task_run.task_id) {
                tasks.insert(task_run.task_id.clone());
            }
        }
    }

    fn take(&self) -> Ran {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sync<'_> {
    /// Reads the graphs anew that do not know a task which ran. One that cannot be read now comes with its history.
    pub(super) async fn read_doubtful_graphs(&self) -> Result<(), SyncError> {
        let doubtful = self.with_unknown_tasks(self.graphs.take()).await?;
        if !doubtful.is_empty() {
            self.read_graphs(&doubtful).await?;
            self.await_read_model().await?;
        }
        Ok(())
    }

    /// Reads the task graphs of some pipelines anew: a task may have come or gone without any other sign. Tells which
    /// could not be read.
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
        let mut graphs = stream::iter(graphs).buffer_unordered(AT_ONCE);
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

    async fn with_unknown_tasks(&self, ran: Ran) -> Result<Vec<String>, SyncError> {
        let ran = ran
            .into_iter()
            .flat_map(|(pipeline, tasks)| tasks.into_iter().map(move |task| (pipeline.0, task)));
        let (pipelines, tasks): (Vec<Uuid>, Vec<String>) = ran.unzip();
        if pipelines.is_empty() {
            return Ok(Vec::new());
        }
        Ok(sqlx::query_scalar(
            "select distinct p.external_id from unnest($1::uuid[], $2::text[]) ran (pipeline_id, task_id)
             join pipelines p on p.id = ran.pipeline_id
             where p.is_active and not p.tasks @> jsonb_build_array(jsonb_build_object('task_id', ran.task_id))",
        )
        .bind(pipelines)
        .bind(tasks)
        .fetch_all(self.pool)
        .await?)
    }
}
