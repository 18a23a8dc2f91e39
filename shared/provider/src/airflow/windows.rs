//! Reads task instances by time windows, for servers whose pages are inconsistent: Airflow 2 returns task
//! instances in no order, and Airflow 3 before 3.3 moves a row to the end of the list whenever its task is
//! retried. One response is consistent, so a window is split until it fits one page.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::client::is_addressable;
use super::model;
use super::pages::{self, PagePosition, rfc3339_utc};
use super::rows::List;
use super::session::{QueryParameters, Session};
use super::wire::TASK_INSTANCES;
use crate::{Page, ProviderError, UnreadableRows};

/// A window is split into parts of about this many rows each.
const ROWS_PER_PART: u64 = 70;
/// Rows are usually close together in time: most parts are empty, and each costs a request.
const MAX_PARTS: u64 = 8;
/// An open window is split as if it had at least this length, since the server's clock may be ahead of ours.
const MIN_OPEN_LENGTH: TimeDelta = TimeDelta::minutes(1);
/// How far the `Date` header may be behind the timestamps of rows: it has whole seconds, and the server
/// updates it once a second, or less often under load.
const MAX_CLOCK_LAG: TimeDelta = TimeDelta::seconds(4);
/// A shorter window is not split.
const MIN_LENGTH: TimeDelta = TimeDelta::milliseconds(1);
/// The resolution of Airflow's timestamps.
const TICK: TimeDelta = TimeDelta::microseconds(1);
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
}

impl FoundRows {
    fn count(&self) -> u64 {
        (self.items.len() + self.lost.len()) as u64
    }
}

/// A time window, both ends included; without `to` it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TimeWindow {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
}

impl TimeWindow {
    /// Splits the window into equal parts, the earliest first. An open window gets one more part after
    /// `latest`, the expected end of its rows. Returns none if the window is too short.
    fn split_equally(self, parts: u64, latest: DateTime<Utc>) -> Vec<Self> {
        let end = self.to.unwrap_or(latest.max(self.from + MIN_OPEN_LENGTH));
        let length = end - self.from;
        let part = length / i32::try_from(parts.clamp(2, MAX_PARTS)).unwrap_or(2);
        if length < MIN_LENGTH || part < TICK {
            return Vec::new();
        }
        let mut windows = Vec::new();
        let mut from = self.from;
        while from <= end {
            let to = (from + part).trunc_subsecs(6).min(end);
            windows.push(Self { from, to: Some(to) });
            from = to + TICK;
        }
        if self.to.is_none() {
            windows.push(Self { from, to: None });
        }
        windows
    }

    fn contains(self, moment: DateTime<Utc>) -> bool {
        self.from <= moment && self.to.is_none_or(|to| moment <= to)
    }

    /// Splits the window at a moment: before it, the moment itself, and after it.
    fn split_at(self, moment: DateTime<Utc>) -> Vec<Self> {
        let before = Self { from: self.from, to: Some(moment - TICK) };
        let after = Self { from: moment + TICK, to: self.to };
        let parts = [before, Self { from: moment, to: Some(moment) }, after];
        parts.into_iter().filter(|part| part.to.is_none_or(|to| part.from <= to)).collect()
    }
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
    /// The lower bound of the whole list.
    since: DateTime<Utc>,
    /// Whether rows contain the time. They do not contain that of their last change.
    is_in_rows: bool,
}

impl TimeAxis {
    /// The time of the last change. Rows that change during the read move to later times; they are left to
    /// the next poll, so that this one ends.
    pub(super) fn of_changes(since: DateTime<Utc>) -> Self {
        Self { bounds: ["updated_at_gte", "updated_at_lte"], since, is_in_rows: false }
    }

    /// A date of the run, filtered by these query parameters.
    pub(super) fn of_runs(bounds: [&'static str; 2], since: DateTime<Utc>) -> Self {
        Self { bounds, since, is_in_rows: true }
    }
}

impl TaskInstanceList<'_> {
    /// Reads a page by the server's cursor, or by windows if the server has no cursors.
    pub(super) async fn by_cursor(&self, cursor: String) -> Result<Page<model::TaskInstance>, ProviderError> {
        let whole = self.whole();
        let position = PagePosition::Cursor(cursor);
        let list = self.request(&self.path(), &self.query_for(whole), &position).await?;
        if list.next_cursor.is_none() {
            return self.resolve_window(whole, Vec::new(), list).await;
        }
        let next = pages::next(&list, &position)?.map(|next| next.token()).transpose()?;
        Ok(Page { items: list.rows.items, next, unreadable: list.rows.unreadable })
    }

    /// Reads the last of these windows, or splits it: then the page is empty and another one follows.
    pub(super) async fn by_window(
        &self,
        mut windows: Vec<TimeWindow>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let window = windows.pop().unwrap_or_else(|| self.whole());
        let list = self.request(&self.path(), &self.query_for(window), &PagePosition::Offset(0)).await?;
        self.resolve_window(window, windows, list).await
    }

    async fn request(
        &self,
        path: &[&str],
        query: &QueryParameters<'_>,
        position: &PagePosition,
    ) -> Result<List<model::TaskInstance>, ProviderError> {
        pages::request(self.session, path, query, position, &TASK_INSTANCES).await
    }

    fn path(&self) -> Vec<&str> {
        [&self.api[..], &["dags", self.dag, "dagRuns", self.run, "taskInstances"]].concat()
    }

    fn whole(&self) -> TimeWindow {
        TimeWindow { from: self.axis.as_ref().map_or(DateTime::UNIX_EPOCH, |axis| axis.since), to: None }
    }

    async fn resolve_window(
        &self,
        window: TimeWindow,
        mut remaining: Vec<TimeWindow>,
        list: List<model::TaskInstance>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let parts = self.split(window, &list);
        let (items, unreadable) = if list.rows.count as u64 >= list.total_entries.unwrap_or_default() {
            (list.rows.items, list.rows.unreadable)
        } else if parts.is_empty() {
            self.read_repeatedly(&self.query_for(window)).await?
        } else {
            // The earliest part is read next: a row that changes meanwhile moves to a later part and is read
            // there.
            remaining.extend(parts.into_iter().rev());
            (Vec::new(), UnreadableRows::default())
        };
        let next = if remaining.is_empty() { None } else { Some(PagePosition::Windows(remaining).token()?) };
        Ok(Page { items, next, unreadable })
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
    ) -> Result<(Vec<model::TaskInstance>, UnreadableRows), ProviderError> {
        let mut found = FoundRows::default();
        let mut total = 0;
        for pass in 0..MAX_PASSES {
            found.lost.clear();
            found.unreadable = UnreadableRows::default();
            total = self.collect_pages(&self.path(), query, &mut found).await?;
            if pass == 0 && found.count() < total.min(MAX_ROWS) {
                self.collect_mapped(query, &mut found).await?;
            }
            if found.count() >= total {
                return Ok((found.items.into_values().collect(), found.unreadable));
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
        let mut total = 0;
        let mut position = Some(PagePosition::Offset(0));
        while let Some(current) = position.filter(|_| total <= MAX_ROWS) {
            let list = self.request(path, query, &current).await?;
            total = list.total_entries.unwrap_or_default();
            position = pages::next(&list, &current)?.filter(|_| list.rows.count > 0);
            found.items.extend(list.rows.items.into_iter().map(|row| (row.key(), row)));
            found.lost.extend(list.rows.lost);
            found.unreadable.merge(list.rows.unreadable);
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
        let addressable = |(dag, run, task): &&(String, String, String)| {
            [dag, run, task].into_iter().all(|id| is_addressable(id))
        };
        for (dag, run, task) in tasks.iter().filter(addressable) {
            let below = ["dags", dag, "dagRuns", run, "taskInstances", task, "listMapped"];
            let path = [&self.api[..], &below].concat();
            self.collect_pages(&path, &query, found).await?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn moment(microseconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::microseconds(microseconds)
    }

    fn assert_covers(whole: TimeWindow, parts: &[TimeWindow]) -> Result<(), TestCaseError> {
        prop_assert_eq!(parts[0].from, whole.from);
        prop_assert_eq!(parts[parts.len() - 1].to, whole.to);
        for pair in parts.windows(2) {
            prop_assert_eq!(pair[0].to.map(|to| to + TICK), Some(pair[1].from), "no gap and no overlap");
        }
        prop_assert!(parts.iter().all(|part| part.to.is_none_or(|to| part.from <= to)));
        Ok(())
    }

    proptest! {
        #[test]
        fn equal_parts_cover_the_window(
            from in 0..i64::from(u32::MAX),
            length in proptest::option::of(0..100_000_000_000_i64),
            parts in any::<u64>(),
            latest in 0..i64::from(u32::MAX),
        ) {
            let whole = TimeWindow { from: moment(from), to: length.map(|length| moment(from + length)) };
            let parts = whole.split_equally(parts, moment(latest));
            prop_assert!(parts.len() as u64 <= MAX_PARTS + 2);
            if whole.to.is_none_or(|to| to - whole.from >= MIN_LENGTH) {
                prop_assert!(parts.len() >= 2);
                assert_covers(whole, &parts)?;
            } else {
                prop_assert!(parts.is_empty());
            }
        }

        #[test]
        fn the_parts_around_a_moment_cover_the_window(
            from in 0..1000_i64,
            inside in 0..1000_i64,
            remaining in proptest::option::of(1..1000_i64),
        ) {
            let moment_inside = moment(from + inside);
            let to = remaining.map(|length| moment(from + inside + length));
            let whole = TimeWindow { from: moment(from), to };
            assert_covers(whole, &whole.split_at(moment_inside))?;
        }
    }
}
