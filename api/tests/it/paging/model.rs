//! What a list must hold, worked out in plain Rust and apart from the SQL that answers it: rows by chance, with many
//! ties and gaps, and what is asked of them.

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
/// Names that differ in case alone tie.
const NAMES: [&str; 4] = ["a", "A", "b", "C"];
const RUN_SORTS: [&str; 3] = ["started_at", "ended_at", "duration_seconds"];
const PIPELINE_SORTS: [&str; 5] = ["name", "last_run", "failed_count", "success_rate", "avg_duration"];

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub id: Uuid,
    name: &'static str,
    owners: Vec<&'static str>,
    criticality: Option<&'static str>,
    is_paused: bool,
    runs: Vec<Run>,
}

/// Times are hours ago.
#[derive(Clone, Debug)]
pub struct Run {
    id: Uuid,
    status: &'static str,
    run_type: &'static str,
    due: i64,
    started: Option<i64>,
    duration: Option<i64>,
    is_deleted: bool,
}

/// A list, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Asked {
    list: List,
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
enum List {
    Pipelines,
    Runs,
    RunsOfPipeline,
}

pub fn pipelines() -> impl Strategy<Value = Vec<Pipeline>> {
    let run = (
        any::<u128>(),
        select(&STATUSES[..]),
        select(&RUN_TYPES[..]),
        0..6_i64,
        option::of(0..4_i64),
        option::of(0..4_i64),
        prop::bool::weighted(0.2),
    );
    let run = run.prop_map(|(id, status, run_type, due, started, duration, is_deleted)| Run {
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
    let pipeline = pipeline.prop_map(|(id, name, owners, criticality, is_paused, runs)| Pipeline {
        id: Uuid::from_u128(id),
        name,
        owners,
        criticality,
        is_paused,
        runs,
    });
    vec(pipeline, 1..9)
}

pub fn asked() -> impl Strategy<Value = Asked> {
    let some = |words: &'static [&'static str]| prop_oneof![2 => Just(Vec::new()), 1 => subsequence(words, 1..words.len())];
    let pipelines = (some(&OWNERS), some(&CRITICALITIES), option::weighted(0.3, any::<bool>()));
    let runs =
        (some(&STATUSES), some(&RUN_TYPES), option::weighted(0.3, 0..4_i64), prop::bool::weighted(0.2));
    let list = select(&[List::Pipelines, List::Runs, List::RunsOfPipeline][..]);
    (list, pipelines, runs, option::of((0..5_usize, any::<bool>())), 1..9_usize).prop_map(
        |(list, pipelines, runs, sort, size)| {
            let (owner, criticality, is_paused) = pipelines;
            let (status, run_type, duration_min, include_deleted) = runs;
            Asked {
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

/// Puts these pipelines in the place of all that were there.
pub async fn store(test: &TestApi, pipelines: &[Pipeline]) {
    // The tables first, in the order of the writer: rows alone would be met in any order, and block each other.
    test.sql(
        "lock table runs, pipelines in exclusive mode;
             delete from runs; delete from pipeline_governance; delete from pipelines",
    )
    .await;
    let rows = pipelines.iter().map(|pipeline| {
        json!({"id": pipeline.id, "name": pipeline.name, "owners": pipeline.owners, "criticality": pipeline.criticality,
               "is_paused": pipeline.is_paused})
    });
    execute(
        test,
        r#"insert into pipelines (id, space_id, connector_id, provider, external_id, version, fingerprint, log_offset,
               observed_at, first_seen_at, name, owners, tags, is_paused, is_active, provider_metadata, tasks)
           select p.id, c.space_id, c.id, 'airflow', p.id, 1, '', 0, now(), now(), p.name, p.owners, '{}', p.is_paused,
               true, '{}', '[]'
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
    let runs = pipelines.iter().flat_map(|pipeline| pipeline.runs.iter().map(|run| run.row(pipeline.id)));
    execute(
        test,
        "insert into runs (id, space_id, connector_id, pipeline_id, provider, external_id, version, fingerprint,
             log_offset, observed_at, deleted_at, status, run_type, run_after, started_at, ended_at, duration_seconds, conf)
         select r.id, p.space_id, p.connector_id, p.id, 'airflow', r.id, 1, '', 0, now(),
             case when r.is_deleted then now() end, r.status, r.run_type, r.due, r.started, r.ended, r.duration, '{}'
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

impl Run {
    fn row(&self, pipeline: Uuid) -> Value {
        json!({"id": self.id, "pipeline": pipeline, "status": self.status, "run_type": self.run_type,
               "due": hours_ago(self.due), "started": self.started.map(hours_ago), "duration": self.duration,
               "ended": self.ended().map(hours_ago), "is_deleted": self.is_deleted})
    }

    fn ended(&self) -> Option<i64> {
        self.started.zip(self.duration).map(|(started, duration)| started - duration)
    }

    /// The later, the greater.
    fn key(&self, sort: usize) -> Option<f64> {
        let key = match RUN_SORTS[sort % RUN_SORTS.len()] {
            "started_at" => self.started.map(|hours| -hours),
            "ended_at" => self.ended().map(|hours| -hours),
            _ => self.duration,
        };
        key.map(|key| key as f64)
    }
}

impl Pipeline {
    fn latest(&self) -> Option<&Run> {
        let there = self.runs.iter().filter(|run| !run.is_deleted);
        there.max_by_key(|run| (-run.due, run.id))
    }

    fn key(&self, sort: usize, include_deleted: bool) -> Option<f64> {
        let runs: Vec<_> = self.runs.iter().filter(|run| include_deleted || !run.is_deleted).collect();
        let count = |status| runs.iter().filter(|run| run.status == status).count() as f64;
        let (good, bad) = (count("success"), count("failed"));
        match PIPELINE_SORTS[sort] {
            "name" => Some(f64::from(self.name.to_lowercase().as_bytes()[0])),
            "last_run" => self.latest().map(|run| -(run.due as f64)),
            "failed_count" => Some(bad),
            "success_rate" => (good + bad > 0.0).then(|| good / (good + bad)),
            _ => {
                let finished = runs.iter().filter(|run| ["success", "failed"].contains(&run.status));
                let durations: Vec<_> = finished.filter_map(|run| run.duration).collect();
                (!durations.is_empty()).then(|| durations.iter().sum::<i64>() as f64 / durations.len() as f64)
            }
        }
    }
}

impl Asked {
    pub fn path(&self, pipelines: &[Pipeline]) -> String {
        let (list, sorts) = match self.list {
            List::Pipelines => ("/pipelines".to_owned(), &PIPELINE_SORTS[..]),
            List::Runs => ("/runs".to_owned(), &RUN_SORTS[..]),
            List::RunsOfPipeline => (format!("/pipelines/{}/runs", pipelines[0].id), &RUN_SORTS[..]),
        };
        let mut path = format!("{list}?size={}&include_deleted={}", self.size, self.include_deleted);
        let words = [
            ("status", &self.status),
            ("run_type", &self.run_type),
            ("owner", &self.owner),
            ("criticality", &self.criticality),
        ];
        for (name, words) in words {
            words.iter().for_each(|word| path += &format!("&{name}={word}"));
        }
        path.extend(self.is_paused.map(|paused| format!("&is_paused={paused}")));
        path.extend(self.duration_min.map(|least| format!("&duration_min={least}")));
        let minus = |descends| if descends { "-" } else { "" };
        path.extend(
            self.sort
                .map(|(sort, descends)| format!("&sort={}{}", minus(descends), sorts[sort % sorts.len()])),
        );
        path
    }

    /// The ids that must be found, in order.
    pub fn expected(&self, pipelines: &[Pipeline]) -> Vec<Uuid> {
        match self.list {
            List::Pipelines => self.expected_pipelines(pipelines),
            List::Runs => self.expected_runs(pipelines.iter().filter(|pipeline| self.admits(pipeline))),
            List::RunsOfPipeline => self.expected_runs(pipelines.iter().take(1)),
        }
    }

    fn admits(&self, pipeline: &Pipeline) -> bool {
        let owned = self.owner.is_empty() || pipeline.owners.iter().any(|owner| self.owner.contains(owner));
        let critical = self.criticality.is_empty()
            || pipeline.criticality.is_some_and(|word| self.criticality.contains(&word));
        owned && critical && self.is_paused.is_none_or(|paused| paused == pipeline.is_paused)
    }

    fn expected_pipelines(&self, pipelines: &[Pipeline]) -> Vec<Uuid> {
        let status = |pipeline: &Pipeline| pipeline.latest().map_or("never_run", |run| run.status);
        let found = pipelines.iter().filter(|pipeline| self.admits(pipeline));
        let mut found: Vec<_> = found
            .filter(|pipeline| self.status.is_empty() || self.status.contains(&status(pipeline)))
            .collect();
        let (sort, descends) = self.sort.unwrap_or((0, false));
        let key = |pipeline: &Pipeline| pipeline.key(sort, self.include_deleted);
        found.sort_by(|a, b| nulls_last(key(a), key(b), descends).then(a.id.cmp(&b.id)));
        found.iter().map(|pipeline| pipeline.id).collect()
    }

    fn expected_runs<'a>(&self, pipelines: impl Iterator<Item = &'a Pipeline>) -> Vec<Uuid> {
        let admits = |run: &&Run| {
            (self.include_deleted || !run.is_deleted)
                && (self.status.is_empty() || self.status.contains(&run.status))
                && (self.run_type.is_empty() || self.run_type.contains(&run.run_type))
                && self
                    .duration_min
                    .is_none_or(|least| run.duration.is_some_and(|duration| duration >= least))
        };
        let mut found: Vec<_> = pipelines.flat_map(|pipeline| &pipeline.runs).filter(admits).collect();
        found.sort_by(|a, b| match self.sort {
            None => (a.due, b.id).cmp(&(b.due, a.id)),
            Some((sort, true)) => nulls_last(a.key(sort), b.key(sort), true).then(b.id.cmp(&a.id)),
            Some((sort, false)) => nulls_last(a.key(sort), b.key(sort), false).then(a.id.cmp(&b.id)),
        });
        found.iter().map(|run| run.id).collect()
    }
}

fn nulls_last(a: Option<f64>, b: Option<f64>, descends: bool) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if descends => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// No id stands for two things.
pub fn are_distinct(pipelines: &[Pipeline]) -> bool {
    let ids =
        pipelines.iter().flat_map(|pipeline| pipeline.runs.iter().map(|run| run.id).chain([pipeline.id]));
    let all: Vec<_> = ids.collect();
    all.iter().collect::<BTreeSet<_>>().len() == all.len()
}
