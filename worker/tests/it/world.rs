//! A provider whose world a test can change, and that can fail at any request: for faults that a real one will not
//! show on demand.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use contract::events::{Observation, PipelineObserved, RunObserved, TaskNode, TaskRunObserved};
use contract::state::RunState;
use provider::{
    Page, PageToken, Provider, ProviderError, ProviderInfo, RunScope, TaskRunScope, TriggerCommand,
};
use tokio::sync::watch;

/// What the provider holds. `changed` are the runs and tasks that its list of changes names.
#[derive(Default)]
pub struct World {
    pub pipelines: Mutex<Vec<PipelineObserved>>,
    pub runs: Mutex<Vec<RunObserved>>,
    pub task_runs: Mutex<Vec<TaskRunObserved>>,
    pub changed: Mutex<bool>,
    /// Whether the list of changed runs keeps silent about those whose tasks changed.
    pub hides_runs: Mutex<bool>,
    /// Whether the list of changed task runs is empty.
    pub hides_tasks: Mutex<bool>,
    /// The tasks of every pipeline.
    pub tasks: Mutex<Vec<&'static str>>,
    /// The pipelines that the connector's user may not see any more.
    pub withheld: Mutex<BTreeSet<String>>,
    /// The pipelines whose history is answered with an error.
    pub unreadable: Mutex<BTreeSet<String>>,
    /// How many histories may be read; the next one waits.
    pub histories: watch::Sender<usize>,
    histories_read: AtomicU64,
    /// How often a single run was asked for.
    singles: AtomicU64,
    /// The request, counted from 1, from which on every one fails.
    pub fails_from: Mutex<Option<u64>>,
    /// Since when histories were asked for, in order.
    pub asked_since: Mutex<Vec<DateTime<Utc>>>,
    requests: AtomicU64,
}

impl World {
    pub fn fail_from(&self, request: Option<u64>) {
        *self.fails_from.lock().unwrap() = request;
        self.requests.store(0, Ordering::SeqCst);
    }

    /// A world whose histories cannot be read to their end: so many, then all wait until more are allowed.
    pub fn allow_histories(&self, allowed: usize) {
        self.histories_read.store(0, Ordering::SeqCst);
        self.histories.send_replace(allowed);
    }

    pub fn histories_read(&self) -> u64 {
        self.histories_read.load(Ordering::SeqCst)
    }

    pub fn take_singles(&self) -> u64 {
        self.singles.swap(0, Ordering::SeqCst)
    }

    async fn ask_history(&self, pipeline: &str) -> Result<(), ProviderError> {
        let place = self.histories_read.fetch_add(1, Ordering::SeqCst) as usize;
        if self.unreadable.lock().unwrap().contains(pipeline) {
            return Err(ProviderError::Failing { host: "test".to_owned(), status: 500, retry_after: None });
        }
        let mut allowed = self.histories.subscribe();
        let allowed = allowed.wait_for(|allowed| *allowed == 0 || place < *allowed).await;
        allowed.map(drop).map_err(|error| ProviderError::Malformed { reason: error.to_string() })
    }

    fn ask(&self) -> Result<(), ProviderError> {
        let request = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        match *self.fails_from.lock().unwrap() {
            Some(from) if request >= from => {
                Err(ProviderError::Failing { host: "test".to_owned(), status: 500, retry_after: None })
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Provider for World {
    async fn probe(&self) -> Result<ProviderInfo, ProviderError> {
        Ok(ProviderInfo { version: "test".to_owned(), clock: self.clock().await? })
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        self.ask()?;
        Ok(Utc::now())
    }

    async fn pipelines(
        &self,
        seen: Observation,
        _: Option<&PageToken>,
    ) -> Result<Page<PipelineObserved>, ProviderError> {
        self.ask()?;
        let mut items = self.pipelines.lock().unwrap().clone();
        items.retain(|pipeline| !self.withheld.lock().unwrap().contains(&pipeline.external_id));
        for item in &mut items {
            (item.version, item.observed_at, item.first_seen_at) = (seen.version, seen.at, seen.at);
        }
        Ok(Page { items, next: None })
    }

    async fn has_pipeline(&self, pipeline: &str) -> Result<bool, ProviderError> {
        self.ask()?;
        if self.withheld.lock().unwrap().contains(pipeline) {
            return Err(ProviderError::Forbidden { status: 403, message: "Forbidden".to_owned() });
        }
        Ok(self.pipelines.lock().unwrap().iter().any(|held| held.external_id == pipeline))
    }

    async fn tasks(&self, _: &str) -> Result<Vec<TaskNode>, ProviderError> {
        self.ask()?;
        let tasks = self.tasks.lock().unwrap();
        let node = |task: &&str| TaskNode {
            task_id: (*task).to_owned(),
            operator: None,
            upstream: Vec::new(),
            downstream: Vec::new(),
        };
        Ok(tasks.iter().map(node).collect())
    }

    async fn runs(
        &self,
        scope: &RunScope,
        seen: Observation,
        _: Option<&PageToken>,
    ) -> Result<Page<RunObserved>, ProviderError> {
        self.ask()?;
        if let RunScope::Pipeline { pipeline, since } = scope {
            self.asked_since.lock().unwrap().push(*since);
            self.ask_history(pipeline).await?;
        }
        let changed = *self.changed.lock().unwrap() && !*self.hides_runs.lock().unwrap();
        let mut items = self.runs.lock().unwrap().clone();
        items.retain(|run| match scope {
            RunScope::ChangedSince(_) => changed,
            RunScope::Unfinished => matches!(run.status, RunState::Queued | RunState::Running),
            RunScope::Pipeline { pipeline, since } => {
                run.pipeline_external_id == *pipeline && run.ordered_at() >= Some(*since)
            }
        });
        for item in &mut items {
            (item.version, item.observed_at) = (seen.version, seen.at);
        }
        Ok(Page { items, next: None })
    }

    async fn run(
        &self,
        pipeline: &str,
        run: &str,
        seen: Observation,
    ) -> Result<Option<RunObserved>, ProviderError> {
        self.ask()?;
        self.singles.fetch_add(1, Ordering::SeqCst);
        let runs = self.runs.lock().unwrap();
        let found = runs.iter().find(|held| held.pipeline_external_id == pipeline && held.external_id == run);
        Ok(found.map(|found| RunObserved { version: seen.version, observed_at: seen.at, ..found.clone() }))
    }

    async fn task_runs(
        &self,
        scope: &TaskRunScope,
        seen: Observation,
        _: Option<&PageToken>,
    ) -> Result<Page<TaskRunObserved>, ProviderError> {
        self.ask()?;
        let changed = *self.changed.lock().unwrap();
        if let TaskRunScope::Pipeline { since, .. } = scope {
            self.asked_since.lock().unwrap().push(*since);
        }
        let mut items = self.task_runs.lock().unwrap().clone();
        let hides_tasks = *self.hides_tasks.lock().unwrap();
        let runs = self.runs.lock().unwrap().clone();
        let is_in = |task_run: &TaskRunObserved, since| {
            let mut runs = runs.iter().filter(|run| run.id == task_run.run_id);
            runs.all(|run| run.ordered_at() >= Some(since))
        };
        items.retain(|task_run| match scope {
            TaskRunScope::ChangedSince(_) => changed && !hides_tasks,
            TaskRunScope::Pipeline { pipeline, since } => {
                task_run.pipeline_external_id == *pipeline && is_in(task_run, *since)
            }
            TaskRunScope::Run { pipeline, run } => {
                task_run.pipeline_external_id == *pipeline && task_run.run_external_id == *run
            }
        });
        for item in &mut items {
            (item.version, item.observed_at) = (seen.version, seen.at);
        }
        Ok(Page { items, next: None })
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
