//! Reads task instances by time windows, for servers whose pages are inconsistent: Airflow 2 returns task
//! instances in no order, and Airflow 3 before 3.3 moves a row to the end of the list whenever its task is
//! retried. One response is consistent, so a window is split until it fits one page.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::fields::RowFields;
use super::list_failures::ListFailures;
use super::model;
use super::page_offsets::PageOffsets;
use super::pages::{self, PagePosition, PagedList, is_about_rows, rfc3339_utc};
use super::rows::List;
use super::session::{QueryParameters, Session};
use super::time_window::{MAX_PARTS, TimeWindow};
use super::wire::TASK_INSTANCES;
use crate::{Page, PagePermit, ProviderError, UnreadableRows};

/// A window is split into parts of about this many rows each.
const ROWS_PER_PART: u64 = 70;
/// How far the `Date` header may be behind the timestamps of rows: it has whole seconds, and the server
/// updates it once a second, or less often under load.
const MAX_CLOCK_LAG: TimeDelta = TimeDelta::seconds(4);
/// After so many failures the rows are counted again: if that fails, too, the list fails as a whole.
const FAILURES_PER_COUNT: u32 = 10;
/// After many failures a window of no more rows than this is split no further, because its rows have offsets.
const MAX_ROWS_BY_OFFSET: u64 = 1_000;
/// How often a list that cannot be split is read before the read fails.
const MAX_PASSES: usize = 10;
/// The maximum number of task instances of one moment, or of one run, in memory.
const MAX_ROWS: u64 = 50_000;

/// The rows of a list that is read repeatedly.
#[derive(Default)]
struct FoundRows {
    /// By natural key, of all passes.
    items: BTreeMap<(String, String, String, i32), model::TaskInstance>,
    /// The hashes of the rows that were lost in this pass.
    lost: HashSet<u64>,
    /// Of this pass.
    unreadable: UnreadableRows,
    /// Of the whole list.
    failures: ListFailures,
}

impl FoundRows {
    fn count(&self) -> u64 {
        (self.items.len() + self.lost.len()) as u64
    }
}

/// The unread time windows of a list, of which the last one is read next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnreadWindows {
    windows: Vec<TimeWindow>,
    failures: ListFailures,
}

impl UnreadWindows {
    /// Adds windows, the earliest first, which is read next: a row that changes meanwhile moves to a later
    /// window and is read there.
    fn push(&mut self, parts: Vec<TimeWindow>) {
        self.windows.extend(parts.into_iter().rev());
    }
}

fn empty_page(windows: UnreadWindows) -> Result<Page<model::TaskInstance>, ProviderError> {
    page(Vec::new(), UnreadableRows::default(), windows, PagePermit::default())
}

fn page(
    items: Vec<model::TaskInstance>,
    unreadable: UnreadableRows,
    windows: UnreadWindows,
    permit: PagePermit,
) -> Result<Page<model::TaskInstance>, ProviderError> {
    let is_last = windows.windows.is_empty();
    let next = if is_last { None } else { Some(PagePosition::Windows(windows).token()?) };
    Ok(Page { items, next, unreadable, permit })
}

/// A list of task instances.
pub(super) struct TaskInstanceList<'a> {
    pub session: &'a Session,
    /// The first segments of the API's paths.
    pub api: [&'a str; 2],
    pub dag: &'a str,
    pub run: &'a str,
    /// The time that the list can be split by; none for a single run.
    pub axis: Option<TimeAxis>,
    /// Further query parameters.
    pub query: QueryParameters<'a>,
}

/// A time that a list can be filtered by.
pub(super) struct TimeAxis {
    /// The query parameters of the lower and the upper bound.
    bounds: [&'static str; 2],
    /// The whole list.
    whole: TimeWindow,
    /// Whether rows contain the time. They do not contain that of their last change.
    is_in_rows: bool,
}

impl TimeAxis {
    /// The time of the last change. Rows that change during the read move to later times; they are left to
    /// the next poll, so that this one ends.
    pub(super) fn of_changes(since: DateTime<Utc>, until: Option<DateTime<Utc>>) -> Self {
        let whole = TimeWindow { from: since, to: until };
        Self { bounds: ["updated_at_gte", "updated_at_lte"], whole, is_in_rows: false }
    }

    /// A date of the run, filtered by these query parameters.
    pub(super) fn of_runs(bounds: [&'static str; 2], since: DateTime<Utc>) -> Self {
        Self { bounds, whole: TimeWindow { from: since, to: None }, is_in_rows: true }
    }
}

impl TaskInstanceList<'_> {
    /// Reads a page by the server's cursor, or by windows if the server has no cursors, or the page fails: no
    /// cursor leads past a row that fails.
    pub(super) async fn by_cursor(&self, cursor: String) -> Result<Page<model::TaskInstance>, ProviderError> {
        let (whole, windows) = (self.whole(), UnreadWindows::default());
        let (path, query) = (self.path(), self.query_for(whole));
        let position = PagePosition::Cursor(cursor);
        let list = match self.paged(&path, &query).request(&position).await {
            Err(error) if is_about_rows(&error) => return self.resolve_failure(whole, windows, error).await,
            list => list?,
        };
        if list.next_cursor.is_none() {
            return self.resolve_window(whole, windows, list).await;
        }
        let next = pages::next(&list, &position)?.map(|next| next.token()).transpose()?;
        let List { rows, permit, .. } = list;
        Ok(Page { items: rows.items, next, unreadable: rows.unreadable, permit })
    }

    /// Reads the last of these windows, or splits it: then the page is empty and another one follows.
    pub(super) async fn by_window(
        &self,
        mut windows: UnreadWindows,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let window = windows.windows.pop().unwrap_or_else(|| self.whole());
        let (path, query) = (self.path(), self.query_for(window));
        let position = PagePosition::PageOffsets(PageOffsets::start(windows.failures));
        match self.paged(&path, &query).request(&position).await {
            Err(error) if is_about_rows(&error) => self.resolve_failure(window, windows, error).await,
            list => self.resolve_window(window, windows, list?).await,
        }
    }

    fn paged<'p>(
        &'p self,
        path: &'p [&'p str],
        query: &'p QueryParameters<'p>,
    ) -> PagedList<'p, fn(&mut RowFields<'_>) -> Option<model::TaskInstance>> {
        PagedList { session: self.session, path, query, decoder: &TASK_INSTANCES }
    }

    fn path(&self) -> Vec<&str> {
        [&self.api[..], &["dags", self.dag, "dagRuns", self.run, "taskInstances"]].concat()
    }

    fn whole(&self) -> TimeWindow {
        let everything = TimeWindow { from: DateTime::UNIX_EPOCH, to: None };
        self.axis.as_ref().map_or(everything, |axis| axis.whole)
    }

    async fn resolve_window(
        &self,
        window: TimeWindow,
        mut windows: UnreadWindows,
        list: List<model::TaskInstance>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let Some(total) = list.total_entries.or((list.rows.count == 0).then_some(0)) else {
            // It may have more rows, and what it lacks would look deleted.
            return Err(ProviderError::malformed("a page of task instances that does not say of how many"));
        };
        if list.rows.count as u64 >= total {
            windows.failures.count_rows(list.rows.items.len() as u64, list.rows.lost.len() as u64);
            return page(list.rows.items, list.rows.unreadable, windows, list.permit);
        }
        let parts = self.split(window, &list);
        // Its permit must not be held while further pages are read.
        drop(list);
        if parts.is_empty() {
            return self.read_window_repeatedly(window, windows).await;
        }
        windows.push(parts);
        empty_page(windows)
    }

    /// Splits a window of which the page fails, down to a moment; after many failures down to few rows.
    async fn resolve_failure(
        &self,
        window: TimeWindow,
        mut windows: UnreadWindows,
        error: ProviderError,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let (path, query) = (self.path(), self.query_for(window));
        let failures = &mut windows.failures;
        failures.count_page();
        if failures.are_of_most_rows() {
            return Err(error);
        }
        if failures.are_many() || failures.pages % FAILURES_PER_COUNT == 1 {
            let rows = self.paged(&path, &query).count_rows(&error).await?;
            if failures.are_many() && rows.is_some_and(|rows| rows <= MAX_ROWS_BY_OFFSET) {
                return self.read_window_repeatedly(window, windows).await;
            }
        }
        let parts = self.axis.as_ref().map(|_| window.split_equally(MAX_PARTS, Utc::now().trunc_subsecs(6)));
        match parts.unwrap_or_default() {
            parts if parts.is_empty() => self.read_window_repeatedly(window, windows).await,
            parts => {
                windows.push(parts);
                empty_page(windows)
            }
        }
    }

    async fn read_window_repeatedly(
        &self,
        window: TimeWindow,
        mut windows: UnreadWindows,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let found = self.read_repeatedly(&self.query_for(window), windows.failures).await?;
        windows.failures = found.failures;
        // Of many pages: a permit for each of them could wait for the others.
        page(found.items.into_values().collect(), found.unreadable, windows, PagePermit::default())
    }

    /// The parts of a window that exceeds a page; empty if it cannot be split.
    fn split(&self, window: TimeWindow, list: &List<model::TaskInstance>) -> Vec<TimeWindow> {
        let Some(axis) = &self.axis else { return Vec::new() };
        let window = match (window.to, list.clock) {
            (None, Some(clock)) if !axis.is_in_rows => {
                TimeWindow { to: Some(clock + MAX_CLOCK_LAG), ..window }
            }
            _ => window,
        };
        if window.to == Some(window.from) {
            return Vec::new();
        }
        let moments: Vec<_> =
            list.rows.items.iter().map(|row| row.run_date.filter(|_| axis.is_in_rows)).collect();
        match moments.first().copied().flatten() {
            // The check of the window prevents an endless loop with a server that ignores the filter.
            Some(first) if window.contains(first) && moments.iter().all(|moment| *moment == Some(first)) => {
                window.split_at(first)
            }
            _ => {
                let parts = list.total_entries.unwrap_or_default() / ROWS_PER_PART + 1;
                let latest = moments.into_iter().flatten().fold(Utc::now(), DateTime::max);
                window.split_equally(parts, latest.trunc_subsecs(6))
            }
        }
    }

    /// Reads all pages of a window that cannot be split, until as many distinct rows were read as the server
    /// reports. An unordered list may omit the same rows every time, so the instances of a mapped task are
    /// read from their own list.
    async fn read_repeatedly(
        &self,
        query: &QueryParameters<'_>,
        failures: ListFailures,
    ) -> Result<FoundRows, ProviderError> {
        let mut found = FoundRows { failures, ..FoundRows::default() };
        let mut total = 0;
        for pass in 0..MAX_PASSES {
            found.lost.clear();
            found.unreadable = UnreadableRows::default();
            total = self.collect_pages(&self.path(), query, &mut found).await?;
            if pass == 0 && found.count() < total.min(MAX_ROWS) {
                self.collect_mapped(query, &mut found).await?;
            }
            if found.count() >= total {
                return Ok(found);
            }
        }
        let reason = format!("a list of {total} task instances that shows only {} of them", found.count());
        Err(ProviderError::malformed(&reason))
    }

    /// Adds the rows of all pages of a list; returns the total that the server reports.
    async fn collect_pages(
        &self,
        path: &[&str],
        query: &QueryParameters<'_>,
        found: &mut FoundRows,
    ) -> Result<u64, ProviderError> {
        let list = self.paged(path, query);
        let mut total = 0;
        let mut position = Some(PagePosition::PageOffsets(PageOffsets::start(found.failures)));
        while let Some(current) = position.filter(|_| total <= MAX_ROWS) {
            let (page, next) = list.read(&current).await?;
            total = page.total_entries.unwrap_or(total);
            found.items.extend(page.rows.items.into_iter().map(|row| (row.key(), row)));
            found.lost.extend(page.rows.lost);
            found.unreadable.merge(page.rows.unreadable);
            if let Some(PagePosition::PageOffsets(offsets)) = &next {
                found.failures = offsets.failures();
            }
            position = next;
        }
        Ok(total)
    }

    /// Adds the instances of each mapped task found so far: their own list is ordered by map index.
    async fn collect_mapped(
        &self,
        query: &QueryParameters<'_>,
        found: &mut FoundRows,
    ) -> Result<(), ProviderError> {
        let mapped = found.items.values().filter(|row| row.map_index >= 0);
        let tasks: BTreeSet<_> =
            mapped.map(|row| (row.dag_id.clone(), row.run_id.clone(), row.task_id.clone())).collect();
        let mut query = query.clone();
        query.retain(|(name, _)| *name != "order_by");
        for (dag, run, task) in &tasks {
            let below = ["dags", dag, "dagRuns", run, "taskInstances", task, "listMapped"];
            let path = [&self.api[..], &below].concat();
            match self.collect_pages(&path, &query, found).await {
                Err(ProviderError::Unaddressable { .. }) => {}
                collected => collected.map(drop)?,
            }
        }
        Ok(())
    }

    fn query_for(&self, window: TimeWindow) -> QueryParameters<'_> {
        let mut query = self.query.clone();
        if let Some(axis) = &self.axis {
            let [from, to] = axis.bounds;
            query.push((from, rfc3339_utc(window.from)));
            query.extend(window.to.map(|end| (to, rfc3339_utc(end))));
        }
        query
    }
}
