//! The REST API of Airflow 3, `/api/v2`: paths, filters, and functions that decode rows into the
//! model. Unknown fields are ignored, and few fields are required.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;

use super::dag_list::DagList;
use super::fields::RowFields;
use super::look_up::LookUp;
use super::pages::{PagePosition, PagedList, changed_between, rfc3339_utc};
use super::rows::{RowDecoder, expect_list};
use super::session::Session;
use super::windows::{TaskInstanceList, TimeAxis, UnreadWindows};
use super::{RestApi, error_body, model, wire};
use crate::{Decoded, Page, PageToken, ProviderError, RunParameter, RunScope, TaskRunScope, TriggerCommand};
use contract::state::EntityKind;

const API: [&str; 2] = ["api", "v2"];

/// Airflow 3.
pub(super) struct V2 {
    pub session: Arc<Session>,
}

#[async_trait]
impl RestApi for V2 {
    async fn version(&self) -> Result<String, ProviderError> {
        wire::version(&self.session.send_get(&path(&["version"]), Vec::new()).await?)
    }

    async fn clock(&self) -> Result<DateTime<Utc>, ProviderError> {
        let response = self.session.send_first_get(&path(&["dags"]), vec![("limit", "1".to_owned())]).await?;
        expect_list(&response)?;
        response.clock()
    }

    async fn dags(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError> {
        self.dag_list().page(page).await
    }

    async fn has_dag(&self, dag: &str) -> Result<bool, ProviderError> {
        self.dag_list().has(dag).await
    }

    async fn tasks(&self, dag: &str) -> Result<Decoded<Vec<model::Task>>, ProviderError> {
        self.dag_list().tasks(dag).await
    }

    async fn time_zone(&self, dag: &str) -> Result<Option<String>, ProviderError> {
        self.dag_list().time_zone(dag).await
    }

    async fn parameters(&self, dag: &str) -> Result<Option<Vec<RunParameter>>, ProviderError> {
        self.dag_list().parameters(dag).await
    }

    async fn dag_runs(
        &self,
        scope: &RunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::DagRun>, ProviderError> {
        let (dag, mut query) = match scope {
            RunScope::ChangedSince(since) => ("~", vec![("updated_at_gte", rfc3339_utc(*since))]),
            RunScope::ChangedBetween(since, until) => ("~", changed_between(*since, *until)),
            RunScope::Unfinished => {
                ("~", vec![("state", "running".to_owned()), ("state", "queued".to_owned())])
            }
            RunScope::Pipeline { pipeline, since } => {
                (pipeline.as_str(), vec![("run_after_gte", rfc3339_utc(*since))])
            }
        };
        query.push(by_id());
        let position = PagePosition::at(page, PagePosition::Cursor(String::new()))?;
        let (path, decoder) = (path(&["dags", dag, "dagRuns"]), self.run_decoder());
        let list = PagedList { session: &self.session, path: &path, query: &query, decoder: &decoder };
        list.page(&position).await
    }

    async fn dag_run(&self, dag: &str, run: &str) -> Result<Option<Decoded<model::DagRun>>, ProviderError> {
        match self.session.find(&path(&["dags", dag, "dagRuns", run])).await {
            Err(ProviderError::Unaddressable { .. }) => self.list_dag_run(dag, run).await,
            found => found?.map(|response| self.run_decoder().single(&response, &[dag, run])).transpose(),
        }
    }

    async fn task_instances(
        &self,
        scope: &TaskRunScope,
        page: Option<&PageToken>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let (dag, run, axis) = match scope {
            TaskRunScope::ChangedSince(since) => ("~", "~", Some(TimeAxis::of_changes(*since, None))),
            TaskRunScope::ChangedBetween(since, until) => {
                ("~", "~", Some(TimeAxis::of_changes(*since, Some(*until))))
            }
            TaskRunScope::Pipeline { pipeline, since } => {
                let bounds = ["run_after_gte", "run_after_lte"];
                (pipeline.as_str(), "~", Some(TimeAxis::of_runs(bounds, *since)))
            }
            TaskRunScope::Run { pipeline, run } => (pipeline.as_str(), run.as_str(), None),
        };
        let list =
            TaskInstanceList { session: &self.session, api: API, dag, run, axis, query: vec![by_id()] };
        match PagePosition::at(page, PagePosition::Cursor(String::new()))? {
            PagePosition::Cursor(cursor) => list.by_cursor(cursor).await,
            PagePosition::Windows(windows) => list.by_window(windows).await,
            PagePosition::PageOffsets(_) => list.by_window(UnreadWindows::default()).await,
        }
    }

    async fn trigger(&self, dag: &str, command: &TriggerCommand) -> Result<model::DagRun, ProviderError> {
        // Airflow 3 requires `logical_date`, even if it is null.
        let body = DagRunPost {
            dag_run_id: &command.run,
            logical_date: command.logical_date.map(rfc3339_utc),
            conf: &command.conf,
            note: command.note.as_deref(),
        };
        let response = self.session.post(&path(&["dags", dag, "dagRuns"]), &body).await?;
        error_body::refused_if_not_found(&response)?;
        let run =
            self.run_decoder().single(&response, &[dag, &command.run]).map_err(|error| match error {
                // The original message describes a database constraint.
                ProviderError::Refused { status: 409, message } if message.contains("constraint") => {
                    let message = "A run with this run id or this logical date exists already".to_owned();
                    ProviderError::Refused { status: 409, message }
                }
                error => error,
            })?;
        Ok(run.value)
    }
}

/// A DAG run to create.
#[derive(Serialize)]
struct DagRunPost<'a> {
    dag_run_id: &'a str,
    logical_date: Option<String>,
    conf: &'a RawValue,
    note: Option<&'a str>,
}

impl V2 {
    /// Looks a run up in a list.
    async fn list_dag_run(
        &self,
        dag: &str,
        run: &str,
    ) -> Result<Option<Decoded<model::DagRun>>, ProviderError> {
        let query = vec![by_id(), ("run_id_pattern", run.replace('\\', "_"))];
        let list = LookUp { session: &self.session, path: path(&["dags", "~", "dagRuns"]), query, id: run };
        list.find(&self.run_decoder(), |listed| listed.dag_id == dag && listed.run_id == run).await
    }

    fn dag_list(&self) -> DagList<'_, impl Fn(&mut RowFields<'_>) -> Option<model::Dag>> {
        let decode = |fields: &mut RowFields<'_>| self.dag(fields);
        DagList {
            session: &self.session,
            api: API,
            query: vec![("exclude_stale", "false".to_owned()), ("order_by", "dag_id".to_owned())],
            decoder: RowDecoder { what: EntityKind::Pipeline, ids: &["dag_id"], decode },
        }
    }

    fn dag(&self, fields: &mut RowFields<'_>) -> Option<model::Dag> {
        let dag_id = fields.id("dag_id")?;
        Some(model::Dag {
            url: self.session.client.url(&["dags", &dag_id]).into(),
            dag_id,
            display_name: fields.text("dag_display_name"),
            description: fields.long_text("description"),
            owners: fields.names("owners"),
            tags: fields.object_names("tags"),
            schedule: fields.text("timetable_summary"),
            is_paused: fields.flag("is_paused").unwrap_or_default(),
            is_stale: fields.flag("is_stale").unwrap_or_default(),
            next_run_at: fields.time("next_dagrun_run_after"),
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
        Some(model::DagRun {
            url: self.session.client.url(&["dags", &dag_id, "runs", &run_id]).into(),
            dag_id,
            run_id,
            state: fields.state("state"),
            run_type: fields.text("run_type"),
            logical_date: fields.time("logical_date"),
            data_interval_start: fields.time("data_interval_start"),
            data_interval_end: fields.time("data_interval_end"),
            run_after: fields.time("run_after"),
            queued_at: fields.time("queued_at"),
            start_date: fields.time("start_date"),
            end_date: fields.time("end_date"),
            conf: fields.conf("conf"),
            note: fields.long_text("note"),
        })
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
