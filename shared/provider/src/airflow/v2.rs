//! The REST API of Airflow 3, `/api/v2`: paths, filters, and bodies as private types that convert to the
//! model. Unknown fields are ignored, and few fields are required.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::pages::{self, PagePosition, rfc3339_utc};
use super::session::Session;
use super::windows::{TaskInstanceList, TimeAxis};
use super::wire::{List, Task, Tasks, Version};
use super::{RestApi, error_body, model};
use crate::{Page, PageToken, ProviderError, RunScope, TaskRunScope, TriggerCommand};

const API: [&str; 2] = ["api", "v2"];

/// Airflow 3.
pub(super) struct V2 {
    pub session: Session,
}

#[async_trait]
impl RestApi for V2 {
    async fn version(&self) -> Result<String, ProviderError> {
        let Version { version } = self.session.get(&path(&["version"]), Vec::new()).await?;
        Ok(version)
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        let response = self.session.send_get(&path(&["dags"]), vec![("limit", "1".to_owned())]).await?;
        let _: List<Value> = error_body::expect(&response)?;
        response.clock()
    }

    async fn dags(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError> {
        let query = vec![("exclude_stale", "false".to_owned()), ("order_by", "dag_id".to_owned())];
        let position = PagePosition::at(page, PagePosition::Offset(0))?;
        let listed = pages::read::<Value>(&self.session, &path(&["dags"]), &query, position).await?;
        let dags = listed.items.into_iter().map(|item| self.dag(item));
        Ok(Page { items: dags.collect::<Result<_, _>>()?, next: listed.next })
    }

    async fn has_dag(&self, dag: &str) -> Result<bool, ProviderError> {
        Ok(self.session.find::<Dag>(&path(&["dags", dag])).await?.is_some())
    }

    async fn tasks(&self, dag: &str) -> Result<Vec<model::Task>, ProviderError> {
        let listed: Tasks = self.session.get(&path(&["dags", dag, "tasks"]), Vec::new()).await?;
        Ok(listed.tasks.into_iter().map(Task::model).collect())
    }

    async fn dag_runs(
        &self,
        scope: &RunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::DagRun>, ProviderError> {
        let (dag, mut query) = match scope {
            RunScope::ChangedSince(since) => ("~", vec![("updated_at_gte", rfc3339_utc(*since))]),
            RunScope::Unfinished => {
                ("~", vec![("state", "running".to_owned()), ("state", "queued".to_owned())])
            }
            RunScope::Pipeline { pipeline, since } => {
                (pipeline.as_str(), vec![("run_after_gte", rfc3339_utc(*since))])
            }
        };
        query.push(by_id());
        let position = PagePosition::at(page, PagePosition::Cursor(String::new()))?;
        let runs = pages::read(&self.session, &path(&["dags", dag, "dagRuns"]), &query, position).await?;
        Ok(runs.map(|run| self.dag_run_of(run)))
    }

    async fn dag_run(&self, dag: &str, run: &str) -> Result<Option<model::DagRun>, ProviderError> {
        let found = self.session.find(&path(&["dags", dag, "dagRuns", run])).await?;
        Ok(found.map(|run| self.dag_run_of(run)))
    }

    async fn task_instances(
        &self,
        scope: &TaskRunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let (dag, run, axis) = match scope {
            TaskRunScope::ChangedSince(since) => ("~", "~", Some(TimeAxis::of_changes(*since))),
            TaskRunScope::Pipeline { pipeline, since } => {
                let bounds = ["run_after_gte", "run_after_lte"];
                (pipeline.as_str(), "~", Some(TimeAxis::of_runs(bounds, *since, |row| row.run_after)))
            }
            TaskRunScope::Run { pipeline, run } => (pipeline.as_str(), run.as_str(), None),
        };
        let list =
            TaskInstanceList { session: &self.session, api: API, dag, run, axis, query: vec![by_id()] };
        match PagePosition::at(page, PagePosition::Cursor(String::new()))? {
            PagePosition::Cursor(cursor) => list.by_cursor(cursor).await,
            PagePosition::Windows(windows) => list.by_window(windows).await,
            PagePosition::Offset(_) => list.by_window(Vec::new()).await,
        }
    }

    async fn trigger(&self, dag: &str, command: &TriggerCommand) -> Result<model::DagRun, ProviderError> {
        // Airflow 3 requires `logical_date`, even if it is null.
        let body = json!({
            "dag_run_id": command.run,
            "logical_date": command.logical_date.map(rfc3339_utc),
            "conf": command.conf,
            "note": command.note,
        });
        let response = self.session.post(&path(&["dags", dag, "dagRuns"]), &body).await?;
        let run = error_body::expect(&response).map_err(|error| match error {
            // The original message describes a database constraint.
            ProviderError::Refused { status: 409, message } if message.contains("constraint") => {
                let message = "A run with this run id or this logical date exists already".to_owned();
                ProviderError::Refused { status: 409, message }
            }
            error => error,
        })?;
        Ok(self.dag_run_of(run))
    }
}

impl V2 {
    fn dag(&self, item: Value) -> Result<model::Dag, ProviderError> {
        let dag: Dag = serde_path_to_error::deserialize(&item)
            .map_err(|error| ProviderError::Malformed { reason: format!("a DAG: {error}") })?;
        Ok(model::Dag {
            url: self.session.client.url(&["dags", &dag.dag_id]).into(),
            dag_id: dag.dag_id,
            display_name: dag.dag_display_name,
            description: dag.description,
            owners: dag.owners.unwrap_or_default(),
            tags: dag.tags.unwrap_or_default().into_iter().map(|tag| tag.name).collect(),
            schedule: dag.timetable_summary,
            is_paused: dag.is_paused.unwrap_or_default(),
            is_stale: dag.is_stale.unwrap_or_default(),
            next_run_at: dag.next_dagrun_run_after,
            raw: item,
        })
    }

    fn dag_run_of(&self, run: DagRun) -> model::DagRun {
        model::DagRun {
            url: self.session.client.url(&["dags", &run.dag_id, "runs", &run.dag_run_id]).into(),
            dag_id: run.dag_id,
            run_id: run.dag_run_id,
            state: run.state,
            run_type: run.run_type,
            logical_date: run.logical_date,
            data_interval_start: run.data_interval_start,
            data_interval_end: run.data_interval_end,
            run_after: run.run_after,
            queued_at: run.queued_at,
            start_date: run.start_date,
            end_date: run.end_date,
            conf: run.conf,
            note: run.note,
        }
    }
}

/// The path below the base URL.
fn path<'a>(segments: &[&'a str]) -> Vec<&'a str> {
    [&API, segments].concat()
}

/// Orders by a unique key, so that pages do not shift when a row changes.
fn by_id() -> (&'static str, String) {
    ("order_by", "id".to_owned())
}

#[derive(Deserialize)]
struct Dag {
    dag_id: String,
    dag_display_name: Option<String>,
    description: Option<String>,
    owners: Option<Vec<String>>,
    tags: Option<Vec<Tag>>,
    timetable_summary: Option<String>,
    is_paused: Option<bool>,
    is_stale: Option<bool>,
    next_dagrun_run_after: Option<DateTime<Utc>>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

#[derive(Deserialize)]
struct DagRun {
    dag_id: String,
    dag_run_id: String,
    state: Option<String>,
    run_type: Option<String>,
    logical_date: Option<DateTime<Utc>>,
    data_interval_start: Option<DateTime<Utc>>,
    data_interval_end: Option<DateTime<Utc>>,
    run_after: Option<DateTime<Utc>>,
    queued_at: Option<DateTime<Utc>>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    #[serde(default)]
    conf: Value,
    note: Option<String>,
}
