//! What changed since the last sync, and what the provider's list of changes does not tell: runs that are unfinished
//! here, runs whose tasks changed, and the stand-ins of mapped tasks that have been expanded.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::{RunObserved, TaskRunObserved, UserRef};
use contract::ids::{PipelineId, RunId, TaskRunId, UserId};
use contract::state::TaskState;
use futures::future::ready;
use futures::{StreamExt, TryStreamExt, stream};
use provider::{RunScope, TaskRunScope};
use uuid::Uuid;

use super::graphs::Ran;
use super::listing::Listed;
use super::{Sync, SyncError, jobs};
use crate::project::find;

/// The provider stamps changes by several clocks and commits later than it stamps.
const OVERLAP: TimeDelta = TimeDelta::seconds(30);
/// How far back a first sync looks before it reads histories.
const NEWEST: TimeDelta = TimeDelta::minutes(15);
/// So many runs a poll asks for one by one at most, for each reason that there is.
const REREADS: usize = 200;

/// Runs by id, with the provider's names of pipeline and run.
type Runs = BTreeMap<RunId, (String, String)>;

/// The runs that were read: all of them with their pipelines, and which are older than any history.
#[derive(Default)]
pub(super) struct Read {
    pub runs: BTreeMap<RunId, PipelineId>,
    old: Runs,
}

impl Sync<'_> {
    /// Publishes everything that changed at or after the cursor; tells which runs there were.
    pub(super) async fn read_changes(
        &self,
        cursor: DateTime<Utc>,
        listed: &Listed,
    ) -> Result<BTreeSet<PipelineId>, SyncError> {
        let since = cursor - OVERLAP;
        let Read { runs: mut read, mut old } = self.read_runs(&RunScope::ChangedSince(since)).await?;
        let (mut touched, ran) = self.read_changed_task_runs(since).await?;
        read.extend(self.read_runs(&RunScope::Unfinished).await?.runs);
        touched.retain(|run, _| !read.contains_key(run));
        let mut stale = self.unfinished_here(&read).await?;
        stale.extend(self.few_or_histories(touched).await?);
        // A pipeline that is gone takes its runs along in the provider; here they stay as last known.
        stale.retain(|_, (pipeline, _)| listed.contains(pipeline));
        self.reread(stale).await?;
        old.retain(|_, (pipeline, _)| listed.contains(pipeline));
        self.read_whole(old).await?;
        self.read_doubtful_graphs(&ran).await?;
        Ok(read.into_values().collect())
    }

    /// One by one many runs would take for ever: then their pipelines' histories are due.
    async fn few_or_histories(&self, runs: Runs) -> Result<Runs, SyncError> {
        if runs.len() <= REREADS {
            return Ok(runs);
        }
        let pipelines: BTreeSet<&String> = runs.values().map(|(pipeline, _)| pipeline).collect();
        jobs::forget_crawls(self.pool, self.job, &Vec::from_iter(pipelines)).await?;
        Ok(Runs::new())
    }

    /// Reads all tasks of runs that no history holds, since they are too old: only those that changed would be here.
    async fn read_whole(&self, runs: Runs) -> Result<(), SyncError> {
        let scopes = runs.into_values().take(REREADS);
        let scopes = scopes.map(|(pipeline, run)| TaskRunScope::Run { pipeline, run });
        let reads = scopes.map(|scope| self.read_task_runs(scope));
        stream::iter(reads).buffer_unordered(self.at_once()).try_for_each(|_| ready(Ok(()))).await
    }

    /// Publishes what runs and what has just run, so that a first sync shows the newest within seconds; tells whose
    /// runs these are.
    pub(super) async fn read_newest(&self, clock: DateTime<Utc>) -> Result<BTreeSet<PipelineId>, SyncError> {
        let mut read = self.read_runs(&RunScope::Unfinished).await?.runs;
        read.extend(self.read_runs(&RunScope::ChangedSince(clock - NEWEST)).await?.runs);
        Ok(read.into_values().collect())
    }

    /// Publishes the runs of a scope and tells which there are, and whose.
    pub(super) async fn read_runs(&self, scope: &RunScope) -> Result<Read, SyncError> {
        let mut read = Read::default();
        let mut page = None;
        loop {
            let seen = self.observe().await?;
            let found = self.provider.runs(scope, seen, page.as_ref()).await?;
            let begin = seen.at - TimeDelta::days(self.job.config.history_days.into());
            for run in &found.items {
                read.runs.insert(run.id, run.pipeline_id);
                if run.ordered_at().is_some_and(|at| at < begin) {
                    read.old.insert(run.id, (run.pipeline_external_id.clone(), run.external_id.clone()));
                }
            }
            self.take_runs(found.items).await?;
            page = found.next;
            if page.is_none() {
                return Ok(read);
            }
        }
    }

    /// Publishes the task runs that changed; tells which runs they are of, and of which tasks.
    async fn read_changed_task_runs(&self, since: DateTime<Utc>) -> Result<(Runs, Ran), SyncError> {
        let scope = TaskRunScope::ChangedSince(since);
        let (mut touched, mut ran) = (Runs::new(), Ran::new());
        let mut page = None;
        loop {
            let seen = self.observe().await?;
            let found = self.provider.task_runs(&scope, seen, page.as_ref()).await?;
            for task_run in &found.items {
                let names = (task_run.pipeline_external_id.clone(), task_run.run_external_id.clone());
                touched.insert(task_run.run_id, names);
                ran.entry(task_run.pipeline_id).or_default().insert(task_run.task_id.clone());
            }
            self.take_task_runs(found.items).await?;
            page = found.next;
            if page.is_none() {
                return Ok((touched, ran));
            }
        }
    }

    /// Publishes runs, keeping who triggered them: that is ours to know, not the provider's.
    async fn take_runs(&self, mut observed: Vec<RunObserved>) -> Result<(), SyncError> {
        let ids: Vec<Uuid> = observed.iter().map(|run| run.id.0).collect();
        let triggered: BTreeMap<RunId, UserRef> = self.triggered_by(&ids).await?;
        for run in &mut observed {
            run.triggered_by = triggered.get(&run.id).cloned();
        }
        self.publisher.count(|report| report.runs_seen += observed.len() as u64);
        self.publisher.publish(observed).await?;
        self.note_progress(|_| {});
        Ok(())
    }

    /// Publishes task runs, and that the stand-ins of those that were expanded are gone.
    pub(super) async fn take_task_runs(&self, observed: Vec<TaskRunObserved>) -> Result<(), SyncError> {
        let ghosts = self.ghosts_beside(&observed).await?;
        self.publisher.count(|report| report.task_runs_seen += observed.len() as u64);
        self.publisher.publish(observed).await?;
        self.publisher.publish(ghosts).await?;
        self.note_progress(|_| {});
        Ok(())
    }

    /// When a mapped task is expanded the provider renames its stand-in, index -1, without a word. One that is said to
    /// be removed is no such ghost: its task was not mapped before, and both are there.
    async fn ghosts_beside(&self, observed: &[TaskRunObserved]) -> Result<Vec<TaskRunObserved>, SyncError> {
        let stand_in = |task_run: &TaskRunObserved| {
            let TaskRunObserved { pipeline_external_id, run_external_id, task_id, .. } = task_run;
            TaskRunId::of(task_run.connector_id, pipeline_external_id, run_external_id, task_id, -1).0
        };
        let mapped = observed.iter().filter(|task_run| task_run.map_index >= 0);
        let mut stand_ins: BTreeMap<Uuid, &TaskRunObserved> =
            mapped.map(|task_run| (stand_in(task_run), task_run)).collect();
        for task_run in observed {
            stand_ins.remove(&task_run.id.0);
        }
        let known = find::<TaskRunObserved>(self.pool, &Vec::from_iter(stand_ins.keys().copied())).await?;
        let ghosts = known.into_iter().filter(|known| !known.deleted && known.status != TaskState::Removed);
        let ghosts = ghosts.map(|ghost| {
            let TaskRunObserved { version, observed_at, .. } = *stand_ins[&ghost.id.0];
            TaskRunObserved { version, observed_at, deleted: true, ..ghost }
        });
        Ok(ghosts.collect())
    }

    /// Who triggered these runs through the API, which writes each command down before it sends it: what the row says,
    /// or, for a run that is seen here first, the command.
    async fn triggered_by(&self, runs: &[Uuid]) -> Result<BTreeMap<RunId, UserRef>, SyncError> {
        if runs.is_empty() {
            return Ok(BTreeMap::new());
        }
        let triggered: Vec<(RunId, UserId, String)> = sqlx::query_as(
            "select distinct on (run_id) run_id, user_id, name from (
                 select id as run_id, triggered_by_id as user_id, triggered_by_name as name, 0 as rank
                 from runs where id = any($1) and triggered_by_id is not null
                 union all
                 select t.run_id, u.id, u.name, 1 from triggers t join users u on u.id = t.user_id
                 where t.run_id = any($1) and coalesce(t.answer_status, 201) = 201) said
             order by run_id, rank",
        )
        .bind(runs)
        .fetch_all(self.pool)
        .await?;
        Ok(triggered.into_iter().map(|(run, id, name)| (run, UserRef { id, name })).collect())
    }

    /// Runs that are unfinished here and were not read just now. Of many each poll takes others; those in a state that
    /// nobody here knows come last, since they may stay in it for ever.
    async fn unfinished_here(&self, read: &BTreeMap<RunId, PipelineId>) -> Result<Runs, SyncError> {
        let runs: Vec<(Uuid, String, String)> = sqlx::query_as(
            "select r.id, p.external_id, r.external_id from runs r join pipelines p on p.id = r.pipeline_id
             where r.connector_id = $1 and r.status in ('queued', 'running', 'unknown')
               and r.deleted_at is null and p.deleted_at is null and r.id <> all($2)
             order by r.status = 'unknown', random() limit $3",
        )
        .bind(self.job.connector_id)
        .bind(Vec::from_iter(read.keys()))
        .bind(REREADS as i64)
        .fetch_all(self.pool)
        .await?;
        Ok(runs.into_iter().map(|(id, pipeline, run)| (RunId(id), (pipeline, run))).collect())
    }

    /// Asks for runs one by one; one that the provider does not have any more is deleted, with its task runs.
    pub(super) async fn reread(&self, runs: Runs) -> Result<(), SyncError> {
        let rereads = runs.into_iter().map(|(id, (pipeline, run))| self.reread_one(id, pipeline, run));
        stream::iter(rereads).buffer_unordered(self.at_once()).try_for_each(|()| ready(Ok(()))).await
    }

    async fn reread_one(&self, id: RunId, pipeline: String, run: String) -> Result<(), SyncError> {
        let seen = self.observe().await?;
        match self.provider.run(&pipeline, &run, seen).await? {
            Some(observed) => self.take_runs(vec![observed]).await,
            None => self.delete_run(id, seen).await,
        }
    }
}
