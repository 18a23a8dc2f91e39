//! Reads the filters and the sort order of lists from the query.

use std::fmt::Display;

use contract::state::{Criticality, RunState, RunType};
use platform::pipeline_metrics::WINDOW_DAYS;
use strum::VariantArray;

use crate::http::request::{Query, ValueError, one_of};
use crate::store::pipelines::{
    ActiveFilter, MetricsWindow, PipelineFilter, PipelineQuery, PipelineSort, PipelineStatus,
};
use crate::store::runs::{RunFilter, RunQuery, RunSort};
use crate::stream::{ChangeKind, EVENT_STATUSES, EventFilter};

/// Reads the query of a list of pipelines.
pub(super) fn pipelines(query: &mut Query) -> PipelineQuery {
    let (sort, descending) =
        query.one("sort", |text| order(text, PipelineSort::VARIANTS)).unwrap_or((PipelineSort::Name, false));
    let status = query.words("status", PipelineStatus::VARIANTS);
    let filter = pipeline_filter(query, Some(true));
    PipelineQuery { filter, status, sort, descending, window: metrics_window(query) }
}

/// Reads the runs that metrics count.
pub(super) fn metrics_window(query: &mut Query) -> MetricsWindow {
    let days = query.integer("days", 1..=365).and_then(|days| i32::try_from(days).ok());
    MetricsWindow { days: days.unwrap_or(WINDOW_DAYS), include_deleted: include_deleted(query) }
}

/// Reads the conditions on pipelines. `default_is_active` applies without the parameter `is_active`.
pub(super) fn pipeline_filter(query: &mut Query, default_is_active: Option<bool>) -> PipelineFilter {
    PipelineFilter {
        provider: query.text("provider"),
        owner: query.texts("owner"),
        criticality: query.words("criticality", Criticality::VARIANTS),
        team_id: query.id("team_id"),
        connector_id: query.id("connector_id"),
        words: query.text("q").iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect(),
        watched_only: query.boolean("watched_only").unwrap_or(false),
        is_paused: query.boolean("is_paused"),
        is_active: is_active(query, default_is_active),
        tag: query.texts("tag"),
    }
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
        sort: query.one("sort", |text| order(text, RunSort::VARIANTS)),
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
