//! The REST API of Airflow 2, `/api/v1`: paths, filters, and functions that decode rows into the
//! model. Its lists of task instances are unordered, so they are read by time windows.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::dag_list::DagList;
use super::earlier_runs::EarlierRuns;
use super::fields::RowFields;
use super::look_up::LookUp;
use super::pages::{PagePosition, PagedList, changed_between, rfc3339_utc};
use super::rows::{RowDecoder, expect_list};
use super::session::{QueryParameters, Session};
use super::windows::{TaskInstanceList, TimeAxis, UnreadWindows};
use super::{RestApi, error_body, model, wire};
use crate::{Decoded, Page, PageToken, ProviderError, RunParameter, RunScope, TaskRunScope, TriggerCommand};
use contract::state::EntityKind;

const API: [&str; 2] = ["api", "v1"];
/// Begins the page tokens of the second list of a history.
const EARLIER: &str = "earlier ";
/// How many pages of such runs of all DAGs are read to find their DAGs.
const MAX_EARLIER_PAGES: usize = 5;

/// Airflow 2.
pub(super) struct V1 {
    pub session: Arc<Session>,
    pub earlier_runs: EarlierRuns,
}

#[async_trait]
impl RestApi for V1 {
    async fn version(&self) -> Result<String, ProviderError> {
        wire::version(&self.session.send_get(&path(&["version"]), Vec::new()).await?)
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
        let (dag, query) = match scope {
            RunScope::ChangedSince(since) => ("~", vec![("updated_at_gte", rfc3339_utc(*since))]),
            RunScope::ChangedBetween(since, until) => ("~", changed_between(*since, *until)),
            RunScope::Unfinished => {
                ("~", vec![("state", "running".to_owned()), ("state", "queued".to_owned())])
            }
            RunScope::Pipeline { pipeline, since } => return self.history(pipeline, *since, page).await,
        };
        self.list_dag_runs(dag, query, page).await
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
                let bounds = ["execution_date_gte", "execution_date_lte"];
                (pipeline.as_str(), "~", Some(TimeAxis::of_runs(bounds, *since)))
            }
            TaskRunScope::Run { pipeline, run } => (pipeline.as_str(), run.as_str(), None),
        };
        // Airflow 2 rejects any `order_by` here.
        let list = TaskInstanceList { session: &self.session, api: API, dag, run, axis, query: Vec::new() };
        match PagePosition::at(page, PagePosition::Windows(UnreadWindows::default()))? {
            PagePosition::Windows(windows) => list.by_window(windows).await,
            PagePosition::Cursor(_) | PagePosition::PageOffsets(_) => {
                list.by_window(UnreadWindows::default()).await
            }
        }
    }

    async fn trigger(&self, dag: &str, command: &TriggerCommand) -> Result<model::DagRun, ProviderError> {
        let body = DagRunPost {
            dag_run_id: &command.run,
            conf: &command.conf,
            logical_date: command.logical_date.map(rfc3339_utc),
            note: command.note.as_deref(),
        };
        let response = self.session.post(&path(&["dags", dag, "dagRuns"]), &body).await?;
        error_body::refused_if_not_found(&response)?;
        Ok(self.run_decoder().single(&response, &[dag, &command.run])?.value)
    }
}

/// A DAG run to create. Airflow 2 rejects null for an optional field.
#[derive(Serialize)]
struct DagRunPost<'a> {
    dag_run_id: &'a str,
    conf: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    logical_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl V1 {
    /// The runs of a DAG with a date since this time, and then those with an earlier date that ended since: a
    /// run begins at the end of its interval, which may be a month after its date.
    async fn history(
        &self,
        dag: &str,
        since: DateTime<Utc>,
        page: Option<&PageToken>,
    ) -> Result<Page<model::DagRun>, ProviderError> {
        if let Some(page) = page.and_then(|PageToken(text)| text.strip_prefix(EARLIER)) {
            let mut runs =
                self.list_dag_runs(dag, ended_since(since), Some(&PageToken(page.to_owned()))).await?;
            runs.next = runs.next.map(earlier);
            return Ok(runs);
        }
        let query = vec![("execution_date_gte", rfc3339_utc(since))];
        let mut runs = self.list_dag_runs(dag, query, page).await?;
        if runs.next.is_none() {
            // An empty list and a missing DAG look the same here, and an empty list would delete all runs of
            // the DAG.
            let is_empty = runs.items.is_empty() && runs.unreadable.count == 0;
            if is_empty && !self.has_dag(dag).await? {
                let message = "The DAG is not there".to_owned();
                return Err(ProviderError::Refused { status: 404, message });
            }
            let find = self.find_dags_with_earlier_runs(since);
            if self.earlier_runs.may_have(dag, since, find).await {
                runs.next = Some(earlier(PagePosition::start().token()?));
            }
        }
        Ok(runs)
    }

    /// The DAGs with runs of an earlier date that ended since; none if they cannot be found, or are too many.
    async fn find_dags_with_earlier_runs(&self, since: DateTime<Utc>) -> Option<BTreeSet<String>> {
        let (mut dags, mut page) = (BTreeSet::new(), None);
        for _ in 0..MAX_EARLIER_PAGES {
            let runs = self.list_dag_runs("~", ended_since(since), page.as_ref()).await.ok()?;
            if runs.unreadable.lost > 0 {
                return None;
            }
            dags.extend(runs.items.into_iter().map(|run| run.dag_id));
            page = runs.next;
            if page.is_none() {
                return Some(dags);
            }
        }
        None
    }

    async fn list_dag_runs(
        &self,
        dag: &str,
        mut query: QueryParameters<'_>,
        page: Option<&PageToken>,
    ) -> Result<Page<model::DagRun>, ProviderError> {
        query.push(("order_by", "id".to_owned()));
        let position = PagePosition::at(page, PagePosition::start())?;
        let (path, decoder) = (path(&["dags", dag, "dagRuns"]), self.run_decoder());
        let list = PagedList { session: &self.session, path: &path, query: &query, decoder: &decoder };
        list.page(&position).await
    }

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

    fn dag_list(&self) -> DagList<'_, impl Fn(&mut RowFields<'_>) -> Option<model::Dag>> {
        let decode = |fields: &mut RowFields<'_>| self.dag(fields);
        DagList {
            session: &self.session,
            api: API,
            query: vec![("only_active", "false".to_owned()), ("order_by", "dag_id".to_owned())],
            decoder: RowDecoder { what: EntityKind::Pipeline, ids: &["dag_id"], decode },
        }
    }

    fn dag(&self, fields: &mut RowFields<'_>) -> Option<model::Dag> {
        let dag_id = fields.id("dag_id")?;
        Some(model::Dag {
            url: self.session.client.url(&["dags", &dag_id, "grid"]).into(),
            dag_id,
            display_name: fields.text("dag_display_name"),
            description: fields.long_text("description"),
            owners: fields.names("owners"),
            tags: fields.object_names("tags"),
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
            note: fields.long_text("note"),
        })
    }
}

/// The query of the runs with a date before this time that ended since.
fn ended_since(since: DateTime<Utc>) -> QueryParameters<'static> {
    let before = since - TimeDelta::microseconds(1);
    vec![("end_date_gte", rfc3339_utc(since)), ("execution_date_lte", rfc3339_utc(before))]
}

/// The token of a page of the second list of a history.
fn earlier(PageToken(page): PageToken) -> PageToken {
    PageToken(format!("{EARLIER}{page}"))
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
