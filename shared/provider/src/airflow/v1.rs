//! The REST API of Airflow 2, `/api/v1`: paths, filters, and bodies as private types that convert to the
//! model. Its lists of task instances are unordered, so they are read by time windows.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::client::is_addressable;
use super::fields::RowFields;
use super::look_up::LookUp;
use super::pages::{self, PagePosition, rfc3339_utc};
use super::rows::{RowDecoder, expect_list};
use super::session::Session;
use super::windows::{TaskInstanceList, TimeAxis};
use super::wire::{self, Version};
use super::{RestApi, error_body, model};
use crate::{Decoded, Page, PageToken, ProviderError, RunScope, TaskRunScope, TriggerCommand};
use contract::state::EntityKind;

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
        let response = self.session.send_first_get(&path(&["dags"]), vec![("limit", "1".to_owned())]).await?;
        expect_list(&response).map_err(|error| match error {
            ProviderError::Forbidden { status, .. } if error_body::is_problem(&response.body) => {
                ProviderError::CredentialsRefused {
                    status,
                    message: "Airflow 2 says so of a wrong password and of a user who may not list DAGs"
                        .to_owned(),
                }
            }
            error => error,
        })?;
        response.clock()
    }

    async fn dags(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError> {
        let query = vec![("only_active", "false".to_owned()), ("order_by", "dag_id".to_owned())];
        let position = PagePosition::at(page, PagePosition::Offset(0))?;
        pages::read(&self.session, &path(&["dags"]), &query, position, &self.dag_decoder()).await
    }

    async fn has_dag(&self, dag: &str) -> Result<bool, ProviderError> {
        if !is_addressable(dag) {
            let pattern = ("dag_id_pattern", dag.replace('\\', "_"));
            let query = vec![("only_active", "false".to_owned()), ("order_by", "dag_id".to_owned()), pattern];
            let list = LookUp { session: &self.session, path: path(&["dags"]), query, id: dag };
            let found = list.find(&self.dag_decoder(), |listed| listed.dag_id == dag).await?;
            return Ok(found.is_some());
        }
        let found = self.session.find(&path(&["dags", dag])).await?;
        found
            .map(|response| self.dag_decoder().single(&response, &[dag]))
            .transpose()
            .map(|dag| dag.is_some())
    }

    async fn tasks(&self, dag: &str) -> Result<Decoded<Vec<model::Task>>, ProviderError> {
        let response = self.session.send_get(&path(&["dags", dag, "tasks"]), Vec::new()).await?;
        wire::tasks(&response, dag)
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
        let decoder = self.run_decoder();
        let runs =
            pages::read(&self.session, &path(&["dags", dag, "dagRuns"]), &query, position, &decoder).await?;
        // An empty list and a missing DAG look the same here, and an empty list would delete all runs of the
        // DAG.
        if dag != "~" && runs.items.is_empty() && runs.unreadable.count == 0 && !self.has_dag(dag).await? {
            return Err(ProviderError::Refused { status: 404, message: "The DAG is not there".to_owned() });
        }
        Ok(runs)
    }

    async fn dag_run(&self, dag: &str, run: &str) -> Result<Option<Decoded<model::DagRun>>, ProviderError> {
        match self.session.find(&path(&["dags", dag, "dagRuns", run])).await {
            Err(ProviderError::Unaddressable { .. }) if is_addressable(dag) => {
                self.list_dag_run(dag, run).await
            }
            found => found?.map(|response| self.run_decoder().single(&response, &[dag, run])).transpose(),
        }
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
                (pipeline.as_str(), "~", Some(TimeAxis::of_runs(bounds, *since)))
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
        error_body::refused_if_not_found(&response)?;
        Ok(self.run_decoder().single(&response, &[dag, &command.run])?.value)
    }
}

impl V1 {
    /// Looks a run up in a list.
    async fn list_dag_run(
        &self,
        dag: &str,
        run: &str,
    ) -> Result<Option<Decoded<model::DagRun>>, ProviderError> {
        // Airflow 2 has no filter for run ids.
        let query = vec![("order_by", "-execution_date".to_owned())];
        let list = LookUp { session: &self.session, path: path(&["dags", dag, "dagRuns"]), query, id: run };
        list.find(&self.run_decoder(), |listed| listed.dag_id == dag && listed.run_id == run).await
    }

    fn dag_decoder(&self) -> RowDecoder<impl Fn(&mut RowFields<'_>) -> Option<model::Dag>> {
        RowDecoder {
            what: EntityKind::Pipeline,
            ids: &["dag_id"],
            decode: |fields: &mut RowFields<'_>| self.dag(fields),
        }
    }

    fn dag(&self, fields: &mut RowFields<'_>) -> Option<model::Dag> {
        let dag_id = fields.id("dag_id")?;
        Some(model::Dag {
            url: self.session.client.url(&["dags", &dag_id, "grid"]).into(),
            dag_id,
            display_name: fields.text("dag_display_name"),
            description: fields.text("description"),
            owners: fields.texts("owners"),
            tags: fields.names("tags"),
            schedule: fields.value("schedule_interval").as_ref().and_then(schedule),
            is_paused: fields.flag("is_paused").unwrap_or_default(),
            is_stale: fields.flag("is_active") == Some(false),
            next_run_at: fields.time("next_dagrun_create_after"),
            raw: fields.all(),
        })
    }

    fn run_decoder(&self) -> RowDecoder<impl Fn(&mut RowFields<'_>) -> Option<model::DagRun>> {
        let ids = &["dag_id", "dag_run_id"];
        RowDecoder { what: EntityKind::Run, ids, decode: |fields: &mut RowFields<'_>| self.run(fields) }
    }

    fn run(&self, fields: &mut RowFields<'_>) -> Option<model::DagRun> {
        let (dag_id, run_id) = (fields.id("dag_id"), fields.id("dag_run_id"));
        let (dag_id, run_id) = (dag_id?, run_id?);
        let mut url = self.session.client.url(&["dags", &dag_id, "grid"]);
        url.query_pairs_mut().append_pair("dag_run_id", &run_id);
        let execution_date = fields.time("execution_date");
        Some(model::DagRun {
            url: url.into(),
            dag_id,
            run_id,
            state: fields.state("state"),
            run_type: fields.text("run_type"),
            // `execution_date` is the former name.
            logical_date: fields.time("logical_date").or(execution_date),
            data_interval_start: fields.time("data_interval_start"),
            data_interval_end: fields.time("data_interval_end"),
            run_after: None,
            queued_at: None,
            start_date: fields.time("start_date"),
            end_date: fields.time("end_date"),
            conf: fields.conf("conf"),
            note: fields.text("note"),
        })
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
