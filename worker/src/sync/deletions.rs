//! What the provider no longer has. Nothing is deleted on one sign alone: a pipeline must be missing from two complete
//! listings and be unknown when asked for; a run must be unknown when asked for; a task run must be missing twice.

use std::collections::{BTreeMap, BTreeSet};

use contract::events::{Observation, PipelineObserved, RunObserved, TaskRunObserved};
use contract::ids::{RunId, TaskRunId};
use provider::{ProviderError, TaskRunScope};
use uuid::Uuid;

use super::error::is_about_one;
use super::listing::Listed;
use super::{Sync, SyncError};
use crate::project::find;

/// Of a connector's pipelines, the share that may go at once: one in this many.
const BRAKE: usize = 5;
/// In how many complete listings in a row a pipeline must be missing.
const ABSENCES: i32 = 2;

impl Sync<'_> {
    /// Deactivates the pipelines that a complete listing no longer names.
    pub(super) async fn deactivate_missing(&self, listed: &Listed) -> Result<(), SyncError> {
        let here: Vec<(Uuid, String)> = sqlx::query_as(
            "select id, external_id from pipelines where connector_id = $1 and deleted_at is null",
        )
        .bind(self.job.connector_id)
        .fetch_all(self.pool)
        .await?;
        let total = here.len();
        let missing: BTreeMap<String, Uuid> = here
            .into_iter()
            .filter(|(_, name)| !listed.contains(name))
            .map(|(id, name)| (name, id))
            .collect();
        // Also before the brake: whoever lets them pass it has seen them missing before.
        let gone = self.note_absences(&missing).await?;
        if missing.len() * BRAKE > total && !self.job.accept_mass_deletion {
            return Err(SyncError::MassDeletion { missing: missing.len(), total });
        }
        for name in gone {
            self.deactivate_if_gone(&name, missing[&name]).await?;
        }
        Ok(())
    }

    /// One of which the provider does not tell, since it may not be read any more, say, stays and holds up nothing; an
    /// accepted mass deletion takes it for gone.
    async fn deactivate_if_gone(&self, name: &str, pipeline: Uuid) -> Result<(), SyncError> {
        let seen = self.observe().await?;
        match self.provider.has_pipeline(name).await {
            Ok(true) => Ok(()),
            Ok(false) => self.deactivate(pipeline, seen).await,
            Err(ProviderError::Forbidden { .. }) if self.job.accept_mass_deletion => {
                self.deactivate(pipeline, seen).await
            }
            Err(error) if is_about_one(&error) => {
                tracing::warn!(pipeline = name, %error, "a pipeline is no longer listed, and whether it is gone is not told; a full sync with accept_mass_deletion deactivates what may not be read");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Counts the absences, forgets those that ended, and tells which pipelines have been missing long enough.
    async fn note_absences(&self, missing: &BTreeMap<String, Uuid>) -> Result<Vec<String>, SyncError> {
        let names: Vec<&String> = missing.keys().collect();
        sqlx::query(
            "update pipeline_crawls set absences = 0
             where connector_id = $1 and absences > 0 and external_id <> all($2)",
        )
        .bind(self.job.connector_id)
        .bind(&names)
        .execute(self.pool)
        .await?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let gone = sqlx::query_scalar(
            "with counted as (
                 insert into pipeline_crawls (connector_id, external_id, absences)
                 select $1, unnest($2::text[]), 1
                 on conflict (connector_id, external_id) do update set absences = pipeline_crawls.absences + 1
                 returning external_id, absences)
             select external_id from counted where absences >= $3",
        )
        .bind(self.job.connector_id)
        .bind(&names)
        .bind(ABSENCES)
        .fetch_all(self.pool)
        .await?;
        Ok(gone)
    }

    async fn deactivate(&self, pipeline: Uuid, seen: Observation) -> Result<(), SyncError> {
        let gone: Vec<_> = find::<PipelineObserved>(self.pool, &[pipeline])
            .await?
            .into_iter()
            .map(|pipeline| PipelineObserved {
                version: seen.version,
                observed_at: seen.at,
                deleted: true,
                is_active: false,
                ..pipeline
            })
            .collect();
        self.publisher.count(|report| report.pipelines_deactivated += gone.len() as u64);
        self.publisher.publish(gone).await?;
        self.forget_history(pipeline).await
    }

    /// Should it come back, it may have lost its runs: its history is due then.
    async fn forget_history(&self, pipeline: Uuid) -> Result<(), SyncError> {
        sqlx::query(
            "update pipeline_crawls c set crawled_at = null from pipelines p
             where p.id = $1 and c.connector_id = p.connector_id and c.external_id = p.external_id",
        )
        .bind(pipeline)
        .execute(self.pool)
        .await?;
        Ok(())
    }

    /// Deletes a run that the provider does not have, and its task runs.
    pub(super) async fn delete_run(&self, run: RunId, seen: Observation) -> Result<(), SyncError> {
        let task_runs: Vec<Uuid> =
            sqlx::query_scalar("select id from task_runs where run_id = $1 and deleted_at is null")
                .bind(run)
                .fetch_all(self.pool)
                .await?;
        self.delete_task_runs(&task_runs, seen).await?;
        let gone = find::<RunObserved>(self.pool, &[run.0]).await?.into_iter().map(|run| RunObserved {
            version: seen.version,
            observed_at: seen.at,
            deleted: true,
            ..run
        });
        self.publisher.publish(gone.collect()).await
    }

    async fn delete_task_runs(&self, task_runs: &[Uuid], seen: Observation) -> Result<(), SyncError> {
        for chunk in task_runs.chunks(500) {
            let gone = find::<TaskRunObserved>(self.pool, chunk).await?.into_iter().map(|task_run| {
                TaskRunObserved { version: seen.version, observed_at: seen.at, deleted: true, ..task_run }
            });
            self.publisher.publish(gone.collect()).await?;
        }
        Ok(())
    }

    /// Asks again for what a history no longer named, and deletes what is gone for sure.
    pub(super) async fn delete_missing(
        &self,
        runs: BTreeSet<RunId>,
        task_runs: BTreeSet<TaskRunId>,
    ) -> Result<(), SyncError> {
        let names = self.names_of(&runs).await?;
        self.reread(names.into_iter().map(|(run, pipeline, name)| (run, (pipeline, name))).collect()).await?;
        let task_runs: Vec<Uuid> = task_runs.into_iter().map(Uuid::from).collect();
        let suspects: BTreeSet<RunId> = sqlx::query_scalar(
            "select distinct run_id from task_runs where id = any($1) and not run_id = any($2)",
        )
        .bind(&task_runs)
        .bind(Vec::from_iter(&runs))
        .fetch_all(self.pool)
        .await?
        .into_iter()
        .collect();
        for (run, pipeline, name) in self.names_of(&suspects).await? {
            self.delete_missing_tasks(run, TaskRunScope::Run { pipeline, run: name }, &task_runs).await?;
        }
        Ok(())
    }

    async fn delete_missing_tasks(
        &self,
        run: RunId,
        scope: TaskRunScope,
        suspects: &[Uuid],
    ) -> Result<(), SyncError> {
        let seen = self.observe().await?;
        let there: Vec<Uuid> = self.read_task_runs(scope).await?.into_iter().map(Uuid::from).collect();
        let gone: Vec<Uuid> = sqlx::query_scalar(
            "select id from task_runs where run_id = $1 and id = any($2) and id <> all($3) and deleted_at is null",
        )
        .bind(run)
        .bind(suspects)
        .bind(there)
        .fetch_all(self.pool)
        .await?;
        self.delete_task_runs(&gone, seen).await
    }

    async fn names_of(&self, runs: &BTreeSet<RunId>) -> Result<Vec<(RunId, String, String)>, SyncError> {
        Ok(sqlx::query_as(
            "select r.id, p.external_id, r.external_id from runs r join pipelines p on p.id = r.pipeline_id
             where r.id = any($1)",
        )
        .bind(Vec::from_iter(runs))
        .fetch_all(self.pool)
        .await?)
    }
}
