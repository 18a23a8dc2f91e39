//! The filters and sorts of the lists, read from the query.

use std::fmt::Display;
use std::sync::LazyLock;

use contract::state::{Criticality, RunState, RunType};
use strum::VariantArray;

use crate::http::request::{Query, Wrong, one_of};
use crate::store::pipelines::{PipelineFilter, PipelineQuery, PipelineSort, Window};
use crate::store::runs::{RunFilter, RunQuery, RunSort};
use crate::stream::{EventFilter, Kind, STATUSES};

/// Every status of a pipeline: its latest run's, or that there is none.
pub static PIPELINE_STATES: LazyLock<Vec<&str>> =
    LazyLock::new(|| RunState::VARIANTS.iter().map(Into::into).chain(["never_run"]).collect());
/// Every way to ask for active pipelines.
pub const ACTIVITIES: [&str; 3] = ["true", "false", "any"];
/// The window of metrics when none is asked for.
pub const DEFAULT_DAYS: i32 = platform::pipeline_metrics::WINDOW_DAYS;

/// The query of a list of pipelines.
pub fn pipelines(query: &mut Query) -> PipelineQuery {
    let (sort, descending) =
        query.one("sort", |text| order(text, &PipelineSort::ALL)).unwrap_or((PipelineSort::Name, false));
    let status = query.all("status", |text| one_of(text, &PIPELINE_STATES));
    PipelineQuery {
        filter: pipeline_filter(query, Some(true)),
        status: status.into_iter().map(str::to_owned).collect(),
        sort,
        descending,
        window: window(query),
    }
}

/// Which runs metrics count.
pub fn window(query: &mut Query) -> Window {
    let days = query.integer("days", 1..=365).and_then(|days| i32::try_from(days).ok());
    Window { days: days.unwrap_or(DEFAULT_DAYS), include_deleted: include_deleted(query) }
}

/// The conditions on pipelines; `is_active` says which are meant when nothing is said.
pub fn pipeline_filter(query: &mut Query, is_active: Option<bool>) -> PipelineFilter {
    PipelineFilter {
        provider: query.text("provider"),
        owner: query.texts("owner"),
        criticality: query.words("criticality", Criticality::VARIANTS),
        team_id: query.id("team_id"),
        connector_id: query.id("connector_id"),
        words: query.text("q").iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect(),
        watched_only: query.boolean("watched_only").unwrap_or(false),
        is_paused: query.boolean("is_paused"),
        is_active: activity(query, is_active),
        tag: query.texts("tag"),
    }
}

fn activity(query: &mut Query, default: Option<bool>) -> Option<bool> {
    match query.one("is_active", |text| one_of(text, &ACTIVITIES)) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => None,
        None => default,
    }
}

/// The query of a list of runs.
pub fn runs(query: &mut Query) -> RunQuery {
    RunQuery {
        filter: RunFilter {
            started_from: query.time("started_from"),
            started_to: query.time("started_to"),
            ended_from: query.time("ended_from"),
            ended_to: query.time("ended_to"),
            duration_min: query.seconds("duration_min"),
            duration_max: query.seconds("duration_max"),
            status: query.words("status", RunState::VARIANTS),
            run_type: query.words("run_type", RunType::VARIANTS),
            triggered_by: query.id("triggered_by"),
            run_id: query.text("run_id"),
            include_deleted: include_deleted(query),
        },
        sort: query.one("sort", |text| order(text, &RunSort::ALL)),
    }
}

/// Which changes a stream is told.
pub fn events(query: &mut Query) -> EventFilter {
    EventFilter {
        kind: query.words("type", Kind::VARIANTS),
        pipeline_id: query.id("pipeline_id"),
        team_id: query.id("team_id"),
        criticality: query.words("criticality", Criticality::VARIANTS),
        status: query.words("status", &STATUSES),
    }
}

/// Whether what the provider no longer has is asked for too.
pub fn include_deleted(query: &mut Query) -> bool {
    query.boolean("include_deleted").unwrap_or(false)
}

/// A key to sort by, descending behind a `-`.
fn order<K: Copy + Display>(text: &str, keys: &[K]) -> Result<(K, bool), Wrong> {
    match text.strip_prefix('-') {
        Some(key) => Ok((one_of(key, keys)?, true)),
        None => Ok((one_of(text, keys)?, false)),
    }
}
