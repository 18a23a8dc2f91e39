//! Task graphs that changed without a word: the provider's list of pipelines does not tell. A task that ran and is
//! unknown gives it away, and whenever a history is read through its graph is read too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::events::{PipelineObserved, TaskRunObserved};
use shared::ids::PipelineId;
use uuid::Uuid;

use super::{Sync, SyncError};
use crate::project::find;

/// What a sync learns of task graphs on its way.
#[derive(Default)]
pub struct Graphs(Mutex<Learned>);

#[derive(Default)]
struct Learned {
    /// Read by this sync already.
    read: BTreeSet<PipelineId>,
    /// To be read in any case.
    due: BTreeSet<PipelineId>,
    /// Which tasks ran.
    ran: BTreeMap<PipelineId, BTreeSet<String>>,
}

impl Graphs {
    pub(super) fn note_read(&self, pipeline: PipelineId) {
        self.learned().read.insert(pipeline);
    }

    pub(super) fn note_due(&self, pipeline: PipelineId) {
        self.learned().due.insert(pipeline);
    }

    pub(super) fn note_ran(&self, task_runs: &[TaskRunObserved]) {
        let mut learned = self.learned();
        for task_run in task_runs {
            learned.ran.entry(task_run.pipeline_id).or_default().insert(task_run.task_id.clone());
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sync<'_> {
    /// Reads the graphs that are due or in doubt. The read model must show what this sync has published: the rest of
    /// each pipeline is taken from there.
    pub(super) async fn read_graphs(&self) -> Result<(), SyncError> {
        let Learned { read, due, ran } = std::mem::take(&mut *self.graphs.learned());
        let mut wanted = self.with_unknown_tasks(&ran).await?;
        wanted.extend(due);
        let wanted: Vec<Uuid> = wanted.difference(&read).map(|pipeline| pipeline.0).collect();
        for known in find::<PipelineObserved>(self.pool, &wanted).await? {
            if known.is_active {
                let seen = self.observe().await?;
                let tasks = self.provider.tasks(&known.external_id).await?;
                let fresh = PipelineObserved { version: seen.version, observed_at: seen.at, tasks, ..known };
                self.publisher.publish(vec![fresh]).await?;
            }
        }
        Ok(())
    }

    async fn with_unknown_tasks(
        &self,
        ran: &BTreeMap<PipelineId, BTreeSet<String>>,
    ) -> Result<BTreeSet<PipelineId>, SyncError> {
        let ran =
            ran.iter().flat_map(|(pipeline, tasks)| tasks.iter().map(|task| (pipeline.0, task.clone())));
        let (pipelines, tasks): (Vec<Uuid>, Vec<String>) = ran.unzip();
        if pipelines.is_empty() {
            return Ok(BTreeSet::new());
        }
        let doubtful: Vec<PipelineId> = sqlx::query_scalar(
            "select distinct p.id from unnest($1::uuid[], $2::text[]) ran (pipeline_id, task_id)
             join pipelines p on p.id = ran.pipeline_id
             where not p.tasks @> jsonb_build_array(jsonb_build_object('task_id', ran.task_id))",
        )
        .bind(pipelines)
        .bind(tasks)
        .fetch_all(self.pool)
        .await?;
        Ok(doubtful.into_iter().collect())
    }
}
