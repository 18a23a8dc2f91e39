//! A provider in memory: a test changes its content, and makes any request fail, which a real one does not on
//! demand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use contract::events::{
    Observation, PipelineObserved, RunObserved, TaskNode, TaskRunObserved, UnreadableEntry,
};
use contract::state::{EntityKind, RunState};
use provider::{
    Decoded, Page, PagePermit, PageToken, Provider, ProviderError, RunParameter, RunScope, TaskRunScope,
    TriggerCommand, UnreadableRows,
};
use tokio::sync::watch;

/// The content of the provider, and which requests fail.
#[derive(Default)]
pub struct FakeProvider {
    pub pipelines: Mutex<Vec<PipelineObserved>>,
    pub runs: Mutex<Vec<RunObserved>>,
    pub task_runs: Mutex<Vec<TaskRunObserved>>,
    /// Whether the lists of changes contain all runs and task runs, or none.
    pub changed: Mutex<bool>,
    /// Whether the list of changed runs is empty even so, as where only their tasks changed.
    pub hides_runs: Mutex<bool>,
    /// Whether the list of changed task runs is empty even so.
    pub hides_tasks: Mutex<bool>,
    /// The tasks of every pipeline.
    pub tasks: Mutex<Vec<&'static str>>,
    /// The time zone of every pipeline.
    pub time_zone: Mutex<Option<&'static str>>,
    /// The error of every list of runs.
    pub failing_runs: Mutex<Option<ProviderError>>,
    /// The error of the list of pipelines.
    pub failing_pipelines: Mutex<Option<ProviderError>>,
    /// The error of every list of task runs.
    pub failing_task_runs: Mutex<Option<ProviderError>>,
    /// Runs that fail with an error when they are requested by their ids.
    pub failing_single_runs: Mutex<BTreeSet<String>>,
    /// Their error, unless it is a failure of the server.
    pub single_run_error: Mutex<Option<ProviderError>>,
    /// Whether every task graph fails with an error.
    pub hides_graphs: Mutex<bool>,
    /// Pipelines that the connector's user has no permission to see any more.
    pub forbidden: Mutex<BTreeSet<String>>,
    /// Pipelines that are in the list, but cannot be read.
    pub unreadable_pipelines: Mutex<BTreeSet<String>>,
    /// Pipelines whose history fails with an error.
    pub unreadable: Mutex<BTreeSet<String>>,
    /// Tasks whose task runs are in the lists, but cannot be read.
    pub unreadable_tasks: Mutex<BTreeSet<String>>,
    /// The `since` of every history that was requested, in order.
    pub requested_since: Mutex<Vec<DateTime<Utc>>>,
    /// The `since` of every list of changes that was requested, in order.
    pub changes_since: Mutex<Vec<DateTime<Utc>>>,
    /// How many histories may be read before the next one blocks; 0 is no limit.
    allowed_histories: watch::Sender<usize>,
    histories_read: AtomicU64,
    single_run_requests: AtomicU64,
    presence_requests: AtomicU64,
    graph_requests: AtomicU64,
    /// The request, counted from 1, from which on every request fails, and the error.
    failing_from: Mutex<Option<(u64, ProviderError)>>,
    /// The errors of single requests, by what is requested.
    failing: Mutex<BTreeMap<String, ProviderError>>,
    failed: AtomicU64,
    requests: AtomicU64,
}

impl FakeProvider {
    /// Makes every request fail from the given one on, counted from now on and from 1.
    pub fn fail_from(&self, request: Option<u64>) {
        *self.failing_from.lock().unwrap() = request.map(|request| (request, internal_error()));
        self.requests.store(0, Ordering::SeqCst);
    }

    /// Leaves every request without an answer from the given one on, counted from now on and from 1.
    pub fn stop_answering_from(&self, request: u64) {
        *self.failing_from.lock().unwrap() = Some((request, unanswered()));
        self.requests.store(0, Ordering::SeqCst);
    }

    /// Leaves a request without an answer, after a time-out that is over at once: `tasks a`, `time zone a`,
    /// `pipeline a`, `history a` and `task runs a` for those of a pipeline, `run r1` for a run.
    pub fn leave_unanswered(&self, request: &str) {
        self.failing.lock().unwrap().insert(request.to_owned(), unanswered());
    }

    /// Answers these requests again.
    pub fn answer_all(&self) {
        self.failing.lock().unwrap().clear();
    }

    /// How many of these requests there were since the last call.
    pub fn take_unanswered(&self) -> u64 {
        self.failed.swap(0, Ordering::SeqCst)
    }

    fn remove_unreadable_tasks(&self, items: &mut Vec<TaskRunObserved>) -> UnreadableRows {
        let unreadable = self.unreadable_tasks.lock().unwrap().clone();
        remove_unreadable(items, |TaskRunObserved { task_id, external_id, .. }| {
            let entry = || UnreadableEntry::new(EntityKind::TaskRun, external_id, "map_index is odd");
            unreadable.contains(task_id).then(entry)
        })
    }

    fn answer(&self, what: &str, of: &str) -> Result<(), ProviderError> {
        match self.failing.lock().unwrap().get(&format!("{what} {of}")) {
            Some(error) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                Err(error.clone())
            }
            None => Ok(()),
        }
    }

    /// Blocks histories after so many, counted from now on, until more are allowed; 0 is no limit.
    pub fn allow_histories(&self, allowed: usize) {
        self.histories_read.store(0, Ordering::SeqCst);
        self.allowed_histories.send_replace(allowed);
    }

    pub fn histories_read(&self) -> u64 {
        self.histories_read.load(Ordering::SeqCst)
    }

    /// How many single runs were requested since the last call.
    pub fn take_single_run_requests(&self) -> u64 {
        self.single_run_requests.swap(0, Ordering::SeqCst)
    }

    /// How often a pipeline was requested by its id since the last call.
    pub fn take_presence_requests(&self) -> u64 {
        self.presence_requests.swap(0, Ordering::SeqCst)
    }

    /// How many task graphs were requested since the last call.
    pub fn take_graph_requests(&self) -> u64 {
        self.graph_requests.swap(0, Ordering::SeqCst)
    }

    async fn begin_history(&self, pipeline: &str) -> Result<(), ProviderError> {
        let index = self.histories_read.fetch_add(1, Ordering::SeqCst) as usize;
        if self.unreadable.lock().unwrap().contains(pipeline) {
            return Err(internal_error());
        }
        let mut allowed = self.allowed_histories.subscribe();
        let allowed = allowed.wait_for(|allowed| *allowed == 0 || index < *allowed).await;
        allowed.map(drop).map_err(|error| ProviderError::Malformed { reason: error.to_string() })
    }

    fn count_request(&self) -> Result<(), ProviderError> {
        let request = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        match &*self.failing_from.lock().unwrap() {
            Some((from, error)) if request >= *from => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// Removes the rows that cannot be read, and returns their entries.
fn remove_unreadable<T>(items: &mut Vec<T>, entry: impl Fn(&T) -> Option<UnreadableEntry>) -> UnreadableRows {
    let mut unreadable = UnreadableRows::default();
    items.retain(|item| {
        let lost = entry(item);
        let is_readable = lost.is_none();
        lost.into_iter().for_each(|entry| unreadable.push(entry, true));
        is_readable
    });
    unreadable
}

/// A list of one page.
fn page<T>(items: Vec<T>, unreadable: UnreadableRows) -> Page<T> {
    Page { items, unreadable, next: None, permit: PagePermit::default() }
}

fn is_in_history(run: &RunObserved, pipeline: &str, since: DateTime<Utc>) -> bool {
    let ended_since = run.run_after.is_none() && run.ended_at >= Some(since);
    run.pipeline_external_id == pipeline && (run.ordered_at() >= Some(since) || ended_since)
}

fn internal_error() -> ProviderError {
    ProviderError::Failing { host: "test".to_owned(), status: 500, retry_after: None, subject: None }
}

fn unanswered() -> ProviderError {
    let (host, reason) = ("test".to_owned(), "no complete answer in time".to_owned());
    ProviderError::Unreachable { host, reason, sent: true, subject: None }
}

#[async_trait]
impl Provider for FakeProvider {
    async fn version(&self) -> Result<String, ProviderError> {
        Ok("test".to_owned())
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        self.count_request()?;
        Ok(Utc::now())
    }

    async fn pipelines(
        &self,
        observation: Observation,
        _: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError> {
        self.count_request()?;
        if let Some(error) = self.failing_pipelines.lock().unwrap().clone() {
            return Err(error);
        }
        let mut items = self.pipelines.lock().unwrap().clone();
        items.retain(|pipeline| !self.forbidden.lock().unwrap().contains(&pipeline.external_id));
        for item in &mut items {
            (item.version, item.observed_at, item.first_seen_at) =
                (observation.version, observation.at, observation.at);
        }
        let unreadable = self.unreadable_pipelines.lock().unwrap().clone();
        let unreadable = remove_unreadable(&mut items, |PipelineObserved { external_id, .. }| {
            let entry = || UnreadableEntry::new(EntityKind::Pipeline, external_id, "dag_id is odd");
            unreadable.contains(external_id).then(entry)
        });
        Ok(page(items, unreadable))
    }

    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError> {
        self.count_request()?;
        self.presence_requests.fetch_add(1, Ordering::SeqCst);
        self.answer("pipeline", pipeline)?;
        if self.forbidden.lock().unwrap().contains(pipeline) {
            let message = "Forbidden".to_owned();
            return Err(ProviderError::Forbidden { status: 403, message, subject: None });
        }
        Ok(self.pipelines.lock().unwrap().iter().any(|known| known.external_id == pipeline))
    }

    async fn tasks(&self, pipeline: &str) -> Result<Decoded<Vec<TaskNode>>, ProviderError> {
        self.count_request()?;
        self.graph_requests.fetch_add(1, Ordering::SeqCst);
        self.answer("tasks", pipeline)?;
        if *self.hides_graphs.lock().unwrap() {
            return Err(internal_error());
        }
        let tasks = self.tasks.lock().unwrap();
        let node = |task: &&str| TaskNode {
            task_id: (*task).to_owned(),
            operator: None,
            upstream: Vec::new(),
            downstream: Vec::new(),
        };
        Ok(Decoded::whole(tasks.iter().map(node).collect()))
    }

    async fn time_zone(&self, pipeline: &str) -> Result<Option<String>, ProviderError> {
        self.answer("time zone", pipeline)?;
        Ok(self.time_zone.lock().unwrap().map(str::to_owned))
    }

    async fn parameters(&self, _: &str) -> Result<Option<Vec<RunParameter>>, ProviderError> {
        self.count_request()?;
        Ok(Some(Vec::new()))
    }

    async fn runs(
        &self,
        scope: &RunScope,
        observation: Observation,
        _: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError> {
        self.count_request()?;
        if let Some(error) = self.failing_runs.lock().unwrap().clone() {
            return Err(error);
        }
        match scope {
            RunScope::Pipeline { pipeline, since } => {
                self.requested_since.lock().unwrap().push(*since);
                self.begin_history(pipeline).await?;
                self.answer("history", pipeline)?;
            }
            RunScope::ChangedSince(since) | RunScope::ChangedBetween(since, _) => {
                self.changes_since.lock().unwrap().push(*since);
            }
            RunScope::Unfinished => {}
        }
        let changed = *self.changed.lock().unwrap() && !*self.hides_runs.lock().unwrap();
        let mut items = self.runs.lock().unwrap().clone();
        items.retain(|run| match scope {
            RunScope::ChangedSince(_) | RunScope::ChangedBetween(..) => changed,
            RunScope::Unfinished => matches!(run.status, RunState::Queued | RunState::Running),
            RunScope::Pipeline { pipeline, since } => is_in_history(run, pipeline, *since),
        });
        for item in &mut items {
            (item.version, item.observed_at) = (observation.version, observation.at);
        }
        Ok(page(items, UnreadableRows::default()))
    }

    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        observation: Observation,
    ) -> Result<Option<Decoded<RunObserved>>, ProviderError> {
        self.count_request()?;
        self.single_run_requests.fetch_add(1, Ordering::SeqCst);
        self.answer("run", run)?;
        if self.failing_single_runs.lock().unwrap().contains(run) {
            return Err(self.single_run_error.lock().unwrap().clone().unwrap_or_else(internal_error));
        }
        let runs = self.runs.lock().unwrap();
        let found =
            runs.iter().find(|known| known.pipeline_external_id == pipeline && known.external_id == run);
        let observed = found.map(|found| RunObserved {
            version: observation.version,
            observed_at: observation.at,
            ..found.clone()
        });
        Ok(observed.map(Decoded::whole))
    }

    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        observation: Observation,
        _: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError> {
        self.count_request()?;
        if let Some(error) = self.failing_task_runs.lock().unwrap().clone() {
            return Err(error);
        }
        let changed = *self.changed.lock().unwrap();
        match scope {
            TaskRunScope::Pipeline { pipeline, since } => {
                self.requested_since.lock().unwrap().push(*since);
                self.answer("task runs", pipeline)?;
            }
            TaskRunScope::ChangedSince(since) | TaskRunScope::ChangedBetween(since, _) => {
                self.changes_since.lock().unwrap().push(*since);
            }
            TaskRunScope::Run { .. } => {}
        }
        let mut items = self.task_runs.lock().unwrap().clone();
        let hides_tasks = *self.hides_tasks.lock().unwrap();
        let runs = self.runs.lock().unwrap().clone();
        let is_in = |task_run: &TaskRunObserved, since| {
            let mut runs = runs.iter().filter(|run| run.id == task_run.run_id);
            runs.all(|run| run.ordered_at() >= Some(since))
        };
        items.retain(|task_run| match scope {
            TaskRunScope::ChangedSince(_) | TaskRunScope::ChangedBetween(..) => changed && !hides_tasks,
            TaskRunScope::Pipeline { pipeline, since } => {
                task_run.pipeline_external_id == *pipeline && is_in(task_run, *since)
            }
            TaskRunScope::Run { pipeline, run } => {
                task_run.pipeline_external_id == *pipeline && task_run.run_external_id == *run
            }
        });
        let unreadable = self.remove_unreadable_tasks(&mut items);
        for item in &mut items {
            (item.version, item.observed_at) = (observation.version, observation.at);
        }
        Ok(page(items, unreadable))
    }

    async fn trigger(
        &self,
        _: &str,
        _: &TriggerCommand,
        _: Observation,
    ) -> Result<RunObserved, ProviderError> {
        Err(ProviderError::Refused { status: 404, message: "nothing is triggered here".to_owned() })
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}
