//! The REST API of Airflow 2, `/api/v1`: paths, filters, and bodies as private types that convert to the
//! model. Its lists of task instances are unordered, so they are read by time windows.

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

const API: [&str; 2] = ["api", "v1"];

/// Airflow 2.
pub(super) struct V1 {
    pub session: Session,
}

#[async_trait]
impl RestApi for V1 {
    async fn version(&self) -> Result<String, ProviderError> {
        let Version { version } = self.session.get(&path(&["version"]), Vec::new()).await?;
        Ok(version)
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        let response = self.session.send_get(&path(&["dags"]), vec![("limit", "1".to_owned())]).await?;
        let list: Result<List<Value>, _> = error_body::expect(&response);
        list.map_err(|error| match error {
            ProviderError::Forbidden { status, .. } => ProviderError::CredentialsRefused {
                status,
                message: "Airflow 2 says so of a wrong password and of a user who may not list DAGs"
                    .to_owned(),
            },
            error => error,
        })?;
        response.clock()
    }

    async fn dags(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError> {
        let query = vec![("only_active", "false".to_owned()), ("order_by", "dag_id".to_owned())];
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
                (pipeline.as_str(), vec![("execution_date_gte", rfc3339_utc(*since))])
            }
        };
        query.push(("order_by", "id".to_owned()));
        let position = PagePosition::at(page, PagePosition::Offset(0))?;
        let runs: Page<DagRun> =
            pages::read(&self.session, &path(&["dags", dag, "dagRuns"]), &query, position).await?;
        // An empty list and a missing DAG look the same here, and an empty list would delete all runs of the
        // DAG.
        if dag != "~" && runs.items.is_empty() && !self.has_dag(dag).await? {
            return Err(ProviderError::Refused { status: 404, message: "The DAG is not there".to_owned() });
        }
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
                let bounds = ["execution_date_gte", "execution_date_lte"];
                (pipeline.as_str(), "~", Some(TimeAxis::of_runs(bounds, *since, |row| row.execution_date)))
            }
            TaskRunScope::Run { pipeline, run } => (pipeline.as_str(), run.as_str(), None),
        };
        // Airflow 2 rejects any `order_by` here.
        let list = TaskInstanceList { session: &self.session, api: API, dag, run, axis, query: Vec::new() };
        match PagePosition::at(page, PagePosition::Windows(Vec::new()))? {
            PagePosition::Windows(windows) => list.by_window(windows).await,
            PagePosition::Cursor(_) | PagePosition::Offset(_) => list.by_window(Vec::new()).await,
        }
    }

    async fn trigger(&self, dag: &str, command: &TriggerCommand) -> Result<model::DagRun, ProviderError> {
        let mut body = json!({"dag_run_id": command.run, "conf": command.conf});
        // Airflow 2 rejects null for an optional field.
        if let Some(date) = command.logical_date {
            body["logical_date"] = json!(rfc3339_utc(date));
        }
        if let Some(note) = &command.note {
            body["note"] = json!(note);
        }
        let response = self.session.post(&path(&["dags", dag, "dagRuns"]), &body).await?;
        Ok(self.dag_run_of(error_body::expect(&response)?))
    }
}

impl V1 {
    fn dag(&self, item: Value) -> Result<model::Dag, ProviderError> {
        let dag: Dag = serde_path_to_error::deserialize(&item)
            .map_err(|error| ProviderError::Malformed { reason: format!("a DAG: {error}") })?;
        Ok(model::Dag {
            url: self.session.client.url(&["dags", &dag.dag_id, "grid"]).into(),
            dag_id: dag.dag_id,
            display_name: dag.dag_display_name,
            description: dag.description,
            owners: dag.owners.unwrap_or_default(),
            tags: dag.tags.unwrap_or_default().into_iter().map(|tag| tag.name).collect(),
            schedule: dag.schedule_interval.as_ref().and_then(schedule),
            is_paused: dag.is_paused.unwrap_or_default(),
            is_stale: dag.is_active == Some(false),
            next_run_at: dag.next_dagrun_create_after,
            raw: item,
        })
    }

    fn dag_run_of(&self, run: DagRun) -> model::DagRun {
        let mut url = self.session.client.url(&["dags", &run.dag_id, "grid"]);
        url.query_pairs_mut().append_pair("dag_run_id", &run.dag_run_id);
        model::DagRun {
            url: url.into(),
            dag_id: run.dag_id,
            run_id: run.dag_run_id,
            state: run.state,
            run_type: run.run_type,
            logical_date: run.logical_date.or(run.execution_date),
            data_interval_start: run.data_interval_start,
            data_interval_end: run.data_interval_end,
            run_after: None,
            queued_at: None,
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

/// The text of a schedule: a cron expression, the name of a timetable, or an interval in the format of
/// Airflow 3.
fn schedule(value: &Value) -> Option<String> {
    let part = |name: &str| value.get(name).and_then(Value::as_i64).unwrap_or_default();
    match value.get("__type")?.as_str()? {
        "CronExpression" => Some(value.get("value")?.as_str()?.to_owned()),
        "TimeDelta" => {
            let (days, seconds) = (part("days"), part("seconds"));
            let time = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
            Some(match days {
                0 => time,
                1 | -1 => format!("{days} day, {time}"),
                days => format!("{days} days, {time}"),
            })
        }
        _ => {
            let parts = value.as_object()?.iter();
            let parts = parts.filter(|(_, amount)| amount.as_i64().is_some_and(|amount| amount != 0));
            let parts: Vec<_> = parts.map(|(unit, amount)| format!("{unit}={amount}")).collect();
            (!parts.is_empty()).then(|| parts.join(" "))
        }
    }
}

#[derive(Deserialize)]
struct Dag {
    dag_id: String,
    dag_display_name: Option<String>,
    description: Option<String>,
    owners: Option<Vec<String>>,
    tags: Option<Vec<Tag>>,
    schedule_interval: Option<Value>,
    is_paused: Option<bool>,
    is_active: Option<bool>,
    next_dagrun_create_after: Option<DateTime<Utc>>,
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
    /// The former name of `logical_date`.
    execution_date: Option<DateTime<Utc>>,
    data_interval_start: Option<DateTime<Utc>>,
    data_interval_end: Option<DateTime<Utc>>,
    start_date: Option<DateTime<Utc>>,
    end_date: Option<DateTime<Utc>>,
    #[serde(default)]
    conf: Value,
    note: Option<String>,
}
