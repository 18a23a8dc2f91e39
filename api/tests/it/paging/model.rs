//! A model of the lists in plain Rust, independent of the SQL under test: random rows with many equal and
//! missing values, random queries, and the expected result.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::TestApi;
use crate::seed::hours_ago;

const STATUSES: [&str; 4] = ["success", "failed", "running", "queued"];
const RUN_TYPES: [&str; 3] = ["scheduled", "manual", "backfill"];
const OWNERS: [&str; 3] = ["ann", "bob", "cid"];
const CRITICALITIES: [&str; 2] = ["low", "high"];
/// Names are compared without case, so that some are equal.
const NAMES: [&str; 4] = ["a", "A", "b", "C"];
const RUN_SORTS: [&str; 3] = ["started_at", "ended_at", "duration_seconds"];
const PIPELINE_SORTS: [&str; 5] = ["name", "last_run", "failed_count", "success_rate", "avg_duration"];

#[derive(Clone, Debug)]
pub(super) struct ModelPipeline {
    pub id: Uuid,
    name: &'static str,
    owners: Vec<&'static str>,
    criticality: Option<&'static str>,
    is_paused: bool,
    runs: Vec<ModelRun>,
}

/// A run; its times are in hours before now.
#[derive(Clone, Debug)]
pub(super) struct ModelRun {
    id: Uuid,
    status: &'static str,
    run_type: &'static str,
    due: i64,
    started: Option<i64>,
    duration: Option<i64>,
    is_deleted: bool,
}

/// A list with its filters, order and page size.
#[derive(Clone, Debug)]
pub(super) struct ListQuery {
    list: ListKind,
    status: Vec<&'static str>,
    run_type: Vec<&'static str>,
    owner: Vec<&'static str>,
    criticality: Vec<&'static str>,
    is_paused: Option<bool>,
    duration_min: Option<i64>,
    include_deleted: bool,
    sort: Option<(usize, bool)>,
    size: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListKind {
    Pipelines,
    Runs,
    RunsOfPipeline,
}

pub(super) fn pipelines() -> impl Strategy<Value = Vec<ModelPipeline>> {
    let run = (
        any::<u128>(),
        select(&STATUSES[..]),
        select(&RUN_TYPES[..]),
        0..6_i64,
        option::of(0..4_i64),
        option::of(0..4_i64),
        prop::bool::weighted(0.2),
    );
    let run = run.prop_map(|(id, status, run_type, due, started, duration, is_deleted)| ModelRun {
        id: Uuid::from_u128(id),
        status,
        run_type,
        due,
        started,
        duration,
        is_deleted,
    });
    let owners = subsequence(&OWNERS[..], 0..=2);
    let pipeline = (
        any::<u128>(),
        select(&NAMES[..]),
        owners,
        option::of(select(&CRITICALITIES[..])),
        any::<bool>(),
        vec(run, 0..12),
    );
    let pipeline = pipeline.prop_map(|(id, name, owners, criticality, is_paused, runs)| ModelPipeline {
        id: Uuid::from_u128(id),
        name,
        owners,
        criticality,
        is_paused,
        runs,
    });
    vec(pipeline, 1..9)
}

pub(super) fn list_query() -> impl Strategy<Value = ListQuery> {
    let any_of = |values: &'static [&'static str]| {
        let some = subsequence(values, 1..values.len());
        prop_oneof![2 => Just(Vec::new()), 1 => some]
    };
    let pipelines = (any_of(&OWNERS), any_of(&CRITICALITIES), option::weighted(0.3, any::<bool>()));
    let runs =
        (any_of(&STATUSES), any_of(&RUN_TYPES), option::weighted(0.3, 0..4_i64), prop::bool::weighted(0.2));
    let list = select(&[ListKind::Pipelines, ListKind::Runs, ListKind::RunsOfPipeline][..]);
    (list, pipelines, runs, option::of((0..5_usize, any::<bool>())), 1..9_usize).prop_map(
        |(list, pipelines, runs, sort, size)| {
            let (owner, criticality, is_paused) = pipelines;
            let (status, run_type, duration_min, include_deleted) = runs;
            ListQuery {
                list,
                status,
                run_type,
                owner,
                criticality,
                is_paused,
                duration_min,
                include_deleted,
                sort,
                size,
            }
        },
    )
}

/// Replaces all pipelines and runs in the database.
pub(super) async fn replace_all(test: &TestApi, pipelines: &[ModelPipeline]) {
    // Tables are locked in the order of the concurrent writer: row locks in another order would deadlock.
    test.sql(
        "lock table runs, pipelines in exclusive mode;
             delete from runs; delete from pipeline_governance; delete from pipelines",
    )
    .await;
    let rows = pipelines.iter().map(|pipeline| {
        json!({"id": pipeline.id, "name": pipeline.name, "owners": pipeline.owners,
               "criticality": pipeline.criticality,
               "is_paused": pipeline.is_paused})
    });
    execute(
        test,
        r#"insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint,
               log_offset, observed_at, first_seen_at, name, owners, tags, is_paused, is_active,
               provider_metadata, tasks)
           select p.id, c.space_id, c.id, 'airflow', p.id, 1, '', 0, now(), now(), p.name, p.owners, '{}',
           p.is_paused, true, '{}', '[]'
           from jsonb_to_recordset($1) as p(id uuid, name text, owners text[], is_paused bool)
           join connectors c on c.name = 'prod airflow'"#,
        rows.clone().collect(),
    )
    .await;
    execute(
        test,
        "insert into pipeline_governance (pipeline_id, space_id, criticality)
         select p.id, s.id, p.criticality from jsonb_to_recordset($1) as p(id uuid, criticality text)
         join spaces s on s.slug = 'finance' where p.criticality is not null",
        rows.collect(),
    )
    .await;
    insert_runs(test, pipelines).await;
}

async fn insert_runs(test: &TestApi, pipelines: &[ModelPipeline]) {
    let runs = pipelines.iter().flat_map(|pipeline| pipeline.runs.iter().map(|run| run.row(pipeline.id)));
    execute(
        test,
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version,
             fingerprint, log_offset, observed_at, deleted_at, status, run_type, run_after, started_at,
             ended_at, duration_seconds, conf)
         select r.id, p.space_id, p.connector_id, p.id, 'airflow', r.id, 1, '', 0, now(),
             case when r.is_deleted then now() end, r.status, r.run_type, r.due, r.started, r.ended,
             r.duration, '{}'
         from jsonb_to_recordset($1) as r(id uuid, pipeline uuid, status text, run_type text, due timestamptz,
             started timestamptz, ended timestamptz, duration float8, is_deleted bool)
         join pipelines p on p.id = r.pipeline",
        runs.collect(),
    )
    .await;
}

async fn execute(test: &TestApi, statement: &'static str, rows: Value) {
    sqlx::query(statement).bind(rows).execute(&test.db).await.unwrap();
}

impl ModelRun {
    fn row(&self, pipeline: Uuid) -> Value {
        json!({"id": self.id, "pipeline": pipeline, "status": self.status, "run_type": self.run_type,
               "due": hours_ago(self.due), "started": self.started.map(hours_ago), "duration": self.duration,
               "ended": self.ended().map(hours_ago), "is_deleted": self.is_deleted})
    }

    fn ended(&self) -> Option<i64> {
        self.started.zip(self.duration).map(|(started, duration)| started - duration)
    }

    /// The value to sort by; a later time is greater.
    fn key(&self, sort: usize) -> Option<f64> {
        let key = match RUN_SORTS[sort % RUN_SORTS.len()] {
            "started_at" => self.started.map(|hours| -hours),
            "ended_at" => self.ended().map(|hours| -hours),
            _ => self.duration,
        };
        key.map(|key| key as f64)
    }
}

impl ModelPipeline {
    fn latest(&self) -> Option<&ModelRun> {
        let present = self.runs.iter().filter(|run| !run.is_deleted);
        present.max_by_key(|run| (-run.due, run.id))
    }

    fn key(&self, sort: usize, include_deleted: bool) -> Option<f64> {
        let runs: Vec<_> = self.runs.iter().filter(|run| include_deleted || !run.is_deleted).collect();
        let count = |status| runs.iter().filter(|run| run.status == status).count() as f64;
        let (succeeded, failed) = (count("success"), count("failed"));
        match PIPELINE_SORTS[sort] {
            "name" => Some(f64::from(self.name.to_lowercase().as_bytes()[0])),
            "last_run" => self.latest().map(|run| -(run.due as f64)),
            "failed_count" => Some(failed),
            "success_rate" => (succeeded + failed > 0.0).then(|| succeeded / (succeeded + failed)),
            _ => {
                let finished = runs.iter().filter(|run| ["success", "failed"].contains(&run.status));
                let durations: Vec<_> = finished.filter_map(|run| run.duration).collect();
                (!durations.is_empty()).then(|| durations.iter().sum::<i64>() as f64 / durations.len() as f64)
            }
        }
    }
}

impl ListQuery {
    pub(super) fn path(&self, pipelines: &[ModelPipeline]) -> String {
        let (list, sorts) = match self.list {
            ListKind::Pipelines => ("/pipelines".to_owned(), &PIPELINE_SORTS[..]),
            ListKind::Runs => ("/runs".to_owned(), &RUN_SORTS[..]),
            ListKind::RunsOfPipeline => (format!("/pipelines/{}/runs", pipelines[0].id), &RUN_SORTS[..]),
        };
        let mut path = format!("{list}?size={}&include_deleted={}", self.size, self.include_deleted);
        let values = [
            ("status", &self.status),
            ("run_type", &self.run_type),
            ("owner", &self.owner),
            ("criticality", &self.criticality),
        ];
        for (name, values) in values {
            values.iter().for_each(|value| path += &format!("&{name}={value}"));
        }
        path.extend(self.is_paused.map(|paused| format!("&is_paused={paused}")));
        path.extend(self.duration_min.map(|least| format!("&duration_min={least}")));
        let sign = |is_descending| if is_descending { "-" } else { "" };
        path.extend(self.sort.map(|(sort, is_descending)| {
            format!("&sort={}{}", sign(is_descending), sorts[sort % sorts.len()])
        }));
        path
    }

    /// The expected ids in order.
    pub(super) fn expected(&self, pipelines: &[ModelPipeline]) -> Vec<Uuid> {
        match self.list {
            ListKind::Pipelines => self.expected_pipelines(pipelines),
            ListKind::Runs => self.expected_runs(pipelines.iter().filter(|pipeline| self.matches(pipeline))),
            ListKind::RunsOfPipeline => self.expected_runs(pipelines.iter().take(1)),
        }
    }

    fn matches(&self, pipeline: &ModelPipeline) -> bool {
        let has_owner =
            self.owner.is_empty() || pipeline.owners.iter().any(|owner| self.owner.contains(owner));
        let has_criticality = self.criticality.is_empty()
            || pipeline.criticality.is_some_and(|value| self.criticality.contains(&value));
        has_owner && has_criticality && self.is_paused.is_none_or(|paused| paused == pipeline.is_paused)
    }

    fn expected_pipelines(&self, pipelines: &[ModelPipeline]) -> Vec<Uuid> {
        let status = |pipeline: &ModelPipeline| pipeline.latest().map_or("never_run", |run| run.status);
        let found = pipelines.iter().filter(|pipeline| self.matches(pipeline));
        let mut found: Vec<_> = found
            .filter(|pipeline| self.status.is_empty() || self.status.contains(&status(pipeline)))
            .collect();
        let (sort, is_descending) = self.sort.unwrap_or((0, false));
        let key = |pipeline: &ModelPipeline| pipeline.key(sort, self.include_deleted);
        found.sort_by(|a, b| nulls_last(key(a), key(b), is_descending).then(a.id.cmp(&b.id)));
        found.iter().map(|pipeline| pipeline.id).collect()
    }

    fn expected_runs<'a>(&self, pipelines: impl Iterator<Item = &'a ModelPipeline>) -> Vec<Uuid> {
        let matches = |run: &&ModelRun| {
            (self.include_deleted || !run.is_deleted)
                && (self.status.is_empty() || self.status.contains(&run.status))
                && (self.run_type.is_empty() || self.run_type.contains(&run.run_type))
                && self
                    .duration_min
                    .is_none_or(|least| run.duration.is_some_and(|duration| duration >= least))
        };
        let mut found: Vec<_> = pipelines.flat_map(|pipeline| &pipeline.runs).filter(matches).collect();
        found.sort_by(|a, b| match self.sort {
            None => (a.due, b.id).cmp(&(b.due, a.id)),
            Some((sort, true)) => nulls_last(a.key(sort), b.key(sort), true).then(b.id.cmp(&a.id)),
            Some((sort, false)) => nulls_last(a.key(sort), b.key(sort), false).then(a.id.cmp(&b.id)),
        });
        found.iter().map(|run| run.id).collect()
    }
}

fn nulls_last(a: Option<f64>, b: Option<f64>, is_descending: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if is_descending => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// Whether all ids are distinct.
pub(super) fn are_distinct(pipelines: &[ModelPipeline]) -> bool {
    let ids =
        pipelines.iter().flat_map(|pipeline| pipeline.runs.iter().map(|run| run.id).chain([pipeline.id]));
    let all: Vec<_> = ids.collect();
    all.iter().collect::<BTreeSet<_>>().len() == all.len()
}
