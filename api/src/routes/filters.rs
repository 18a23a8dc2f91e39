//! Reads the filters and the sort order of lists from the query.

use std::collections::BTreeSet;
use std::fmt::Display;

use contract::state::{Criticality, Health, RunState, RunType, SyncStatus, SyncTrigger};
use platform::pipeline_metrics::WINDOW_DAYS;
use strum::VariantArray;

use crate::http::request::{Query, ValueError, id, one_of, text};
use crate::store::pipelines::{
    ActiveFilter, MetricsWindow, PipelineFilter, PipelineQuery, PipelineSort, PipelineStatus, PipelineView,
};
use crate::store::runs::{RunFilter, RunQuery, RunSort};
use crate::store::schema::{MAX_IDS, MAX_SEARCH_LENGTH, MAX_SEARCH_WORDS};
use crate::store::syncs::SyncFilter;
use crate::stream::{ChangeKind, EVENT_STATUSES, EventFilter};

/// The maximum number of runs that a pipeline is listed with.
const MAX_RECENT_RUNS: i64 = 50;

/// Reads the query of a list of pipelines.
pub(super) fn pipelines(query: &mut Query) -> PipelineQuery {
    let (sort, descending) =
        query.one("sort", |text| order(text, PipelineSort::VARIANTS)).unwrap_or((PipelineSort::Name, false));
    let status = query.words("status", PipelineStatus::VARIANTS);
    let health = query.words("health", Health::VARIANTS);
    let filter = pipeline_filter(query, "id", Some(true));
    PipelineQuery { filter, status, health, sort, descending, view: pipeline_view(query) }
}

/// Reads what a pipeline is shown with.
pub(super) fn pipeline_view(query: &mut Query) -> PipelineView {
    let recent_runs = query.integer("recent_runs", 0..=MAX_RECENT_RUNS).unwrap_or(0);
    PipelineView { window: metrics_window(query), recent_runs }
}

/// Reads the runs that metrics count.
fn metrics_window(query: &mut Query) -> MetricsWindow {
    let days = query.integer("days", 1..=365).and_then(|days| i32::try_from(days).ok());
    MetricsWindow { days: days.unwrap_or(WINDOW_DAYS), include_deleted: include_deleted(query) }
}

/// Reads the conditions on pipelines. `ids` is the name of the parameter with their ids; `default_is_active`
/// applies without the parameter `is_active`.
pub(super) fn pipeline_filter(
    query: &mut Query,
    ids: &'static str,
    default_is_active: Option<bool>,
) -> PipelineFilter {
    PipelineFilter {
        ids: query.ids(ids, MAX_IDS),
        provider: query.text("provider"),
        owner: query.any_of("owner", |text| Ok(text.to_owned())),
        criticality: query.any_of("criticality", |text| one_of(text, Criticality::VARIANTS)),
        team_id: query.any_of("team_id", id),
        connector_id: query.all("connector_id", id),
        words: query.one("q", search_words).unwrap_or_default(),
        watched_only: query.boolean("watched_only").unwrap_or(false),
        is_paused: query.boolean("is_paused"),
        is_active: is_active(query, default_is_active),
        tag: query.texts("tag"),
    }
}

/// Reads the conditions on the pipelines of incidents.
pub(super) fn incident_pipelines(query: &mut Query) -> PipelineFilter {
    PipelineFilter {
        ids: query.ids("pipeline_id", MAX_IDS),
        criticality: query.any_of("criticality", |text| one_of(text, Criticality::VARIANTS)),
        team_id: query.any_of("team_id", id),
        ..PipelineFilter::default()
    }
}

/// Splits a search into its different words.
fn search_words(search: &str) -> Result<Vec<String>, ValueError> {
    let search = text(search)?;
    if search.chars().count() > MAX_SEARCH_LENGTH {
        let message = format!("ensure this value has at most {MAX_SEARCH_LENGTH} characters");
        return Err(ValueError::new("value_error.any_str.max_length", message));
    }
    let words: BTreeSet<String> = search.split_whitespace().map(str::to_owned).collect();
    if words.len() > MAX_SEARCH_WORDS {
        let message = format!("ensure this value has at most {MAX_SEARCH_WORDS} different words");
        return Err(ValueError::new("value_error.list.max_items", message));
    }
    Ok(words.into_iter().collect())
}

fn is_active(query: &mut Query, default: Option<bool>) -> Option<bool> {
    match query.one("is_active", |text| one_of(text, ActiveFilter::VARIANTS)) {
        Some(ActiveFilter::True) => Some(true),
        Some(ActiveFilter::False) => Some(false),
        Some(ActiveFilter::Any) => None,
        None => default,
    }
}

/// Reads the query of a list of runs.
pub(super) fn runs(query: &mut Query) -> RunQuery {
    RunQuery { filter: run_filter(query), sort: query.one("sort", |text| order(text, RunSort::VARIANTS)) }
}

/// Reads the conditions on runs.
pub(super) fn run_filter(query: &mut Query) -> RunFilter {
    RunFilter {
        ids: query.ids("id", MAX_IDS),
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
    }
}

/// Reads the conditions on syncs.
pub(super) fn syncs(query: &mut Query) -> SyncFilter {
    SyncFilter {
        status: query.words("status", SyncStatus::VARIANTS),
        trigger: query.words("trigger", SyncTrigger::VARIANTS),
        changed: query.boolean("changed"),
    }
}

/// Reads the conditions on the changes of a stream.
pub(super) fn events(query: &mut Query) -> EventFilter {
    EventFilter {
        kind: query.words("type", ChangeKind::VARIANTS),
        pipeline_id: query.id("pipeline_id"),
        team_id: query.id("team_id"),
        criticality: query.words("criticality", Criticality::VARIANTS),
        status: query.words("status", &EVENT_STATUSES),
    }
}

/// Returns whether runs or task runs that the provider no longer has are included.
pub(super) fn include_deleted(query: &mut Query) -> bool {
    query.boolean("include_deleted").unwrap_or(false)
}

/// Reads a sort key, and whether a `-` before it asks for descending order.
fn order<K: Copy + Display>(text: &str, keys: &[K]) -> Result<(K, bool), ValueError> {
    match text.strip_prefix('-') {
        Some(key) => Ok((one_of(key, keys)?, true)),
        None => Ok((one_of(text, keys)?, false)),
    }
}
