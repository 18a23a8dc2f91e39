//! Task instances by windows of time, for servers whose pages cannot be trusted: Airflow 2 gives them in no order at
//! all, and Airflow 3 before its cursors moves a row behind the others whenever its task is tried again. What one
//! statement returns is consistent, so a window is split until all of it fits one page.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::model;
use super::pages::{self, Position, zulu};
use super::session::{Query, Session};
use super::wire::{List, TaskInstance};
use crate::{Page, ProviderError};

/// A window of more rows than a page is split so that this many are to be expected in each part.
const ROWS_OF_A_PART: u64 = 70;
/// Rows lie close together in time as a rule: most parts are empty, and each costs a request.
const MOST_PARTS: u64 = 8;
/// An open window is split as if it were this long at least: the server's clock may be ahead of ours.
const SHORTEST_OPEN: TimeDelta = TimeDelta::minutes(1);
/// So far its time may be behind what it stamps rows with: it tells whole seconds, and looks at its clock once a second or,
/// when it is busy, a little less often.
const CLOCK_BEHIND: TimeDelta = TimeDelta::seconds(4);
/// A shorter window is not split: its rows were written as good as at once.
const SHORTEST: TimeDelta = TimeDelta::milliseconds(1);
/// Airflow keeps time to the microsecond.
const TICK: TimeDelta = TimeDelta::microseconds(1);
/// How often a list that cannot be split is read before it is given up.
const PASSES: usize = 10;
/// The most task instances of one moment, or of one run, that are held at once.
const MOST: u64 = 50_000;

/// Task instances by what tells them apart.
type Found = BTreeMap<(String, String, String, i32), model::TaskInstance>;

/// A stretch of time, both ends included; without an end it goes on for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    from: DateTime<Utc>,
    to: Option<DateTime<Utc>>,
}

impl Window {
    /// Equal parts of it, the earliest first, and for an open one what lies beyond `latest`, where its rows are thought to
    /// end, as one more; none when it is too short.
    fn parts(self, parts: u64, latest: DateTime<Utc>) -> Vec<Self> {
        let end = self.to.unwrap_or(latest.max(self.from + SHORTEST_OPEN));
        let length = end - self.from;
        let part = length / i32::try_from(parts.clamp(2, MOST_PARTS)).unwrap_or(2);
        if length < SHORTEST || part < TICK {
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

    fn holds(self, moment: DateTime<Utc>) -> bool {
        self.from <= moment && self.to.is_none_or(|to| moment <= to)
    }

    /// What is before a moment of it, the moment, and what is behind it.
    fn around(self, moment: DateTime<Utc>) -> Vec<Self> {
        let before = Self { from: self.from, to: Some(moment - TICK) };
        let behind = Self { from: moment + TICK, to: self.to };
        let parts = [before, Self { from: moment, to: Some(moment) }, behind];
        parts.into_iter().filter(|part| part.to.is_none_or(|to| part.from <= to)).collect()
    }
}

/// A list of task instances.
pub(super) struct TaskInstances<'a> {
    pub session: &'a Session,
    /// How paths of this API begin.
    pub api: [&'a str; 2],
    pub dag: &'a str,
    pub run: &'a str,
    /// By what it can be split; none for a single run.
    pub axis: Option<Axis>,
    /// What is asked for besides.
    pub query: Query<'a>,
}

/// Where a row stands on an axis, if it tells.
type Place = fn(&TaskInstance) -> Option<DateTime<Utc>>;

/// A time that a list can be bounded by.
pub(super) struct Axis {
    /// The parameters for its first and its last moment.
    bounds: [&'static str; 2],
    /// From when on it is asked for.
    since: DateTime<Utc>,
    /// Where a row stands on it; none for the time of its last change, which no row tells.
    of: Option<Place>,
}

impl Axis {
    /// When rows changed last. They move on to now while they are read: what does is left to the next poll, or none
    /// would end.
    pub fn of_changes(since: DateTime<Utc>) -> Self {
        Self { bounds: ["updated_at_gte", "updated_at_lte"], since, of: None }
    }

    /// A date of the run, by these parameters.
    pub fn of_runs(bounds: [&'static str; 2], since: DateTime<Utc>, of: Place) -> Self {
        Self { bounds, since, of: Some(of) }
    }
}

impl TaskInstances<'_> {
    /// Reads by the server's cursor, or by windows where it has none.
    pub async fn by_cursor(&self, cursor: String) -> Result<Page<model::TaskInstance>, ProviderError> {
        let whole = self.whole();
        let position = Position::Cursor(cursor);
        let list = pages::ask(self.session, &self.path(), &self.within(whole), &position).await?;
        if list.next_cursor.is_none() {
            return self.settle(whole, Vec::new(), list).await;
        }
        let next = pages::next(&list, &position)?.map(|next| next.token()).transpose()?;
        Ok(Page { items: list.items, next }.map(TaskInstance::model))
    }

    /// Reads the last of these windows, or splits it: then the page is empty, and another one follows.
    pub async fn by_window(
        &self,
        mut windows: Vec<Window>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let window = windows.pop().unwrap_or_else(|| self.whole());
        let list = pages::ask(self.session, &self.path(), &self.within(window), &Position::Offset(0)).await?;
        self.settle(window, windows, list).await
    }

    fn path(&self) -> Vec<&str> {
        [&self.api[..], &["dags", self.dag, "dagRuns", self.run, "taskInstances"]].concat()
    }

    fn whole(&self) -> Window {
        Window { from: self.axis.as_ref().map_or(DateTime::UNIX_EPOCH, |axis| axis.since), to: None }
    }

    async fn settle(
        &self,
        window: Window,
        mut rest: Vec<Window>,
        list: List<TaskInstance>,
    ) -> Result<Page<model::TaskInstance>, ProviderError> {
        let parts = self.split(window, &list);
        let items = if list.items.len() as u64 >= list.total_entries.unwrap_or_default() {
            list.items.into_iter().map(TaskInstance::model).collect()
        } else if parts.is_empty() {
            self.gather(&self.within(window)).await?
        } else {
            // The earliest next: a row that changes meanwhile moves to a later one and is seen there.
            rest.extend(parts.into_iter().rev());
            Vec::new()
        };
        let next = if rest.is_empty() { None } else { Some(Position::Windows(rest).token()?) };
        Ok(Page { items, next })
    }

    /// The parts of a window that holds more than a page; none where there is nothing to split by.
    fn split(&self, window: Window, list: &List<TaskInstance>) -> Vec<Window> {
        let Some(axis) = &self.axis else { return Vec::new() };
        let window = match (window.to, list.clock) {
            (None, Some(clock)) if axis.of.is_none() => Window { to: Some(clock + CLOCK_BEHIND), ..window },
            _ => window,
        };
        if window.to == Some(window.from) {
            return Vec::new();
        }
        let moments: Vec<_> = list.items.iter().map(|row| axis.of.and_then(|of| of(row))).collect();
        match moments.first().copied().flatten() {
            // A server that passes over the filter must not lead round in circles.
            Some(first) if window.holds(first) && moments.iter().all(|moment| *moment == Some(first)) => {
                window.around(first)
            }
            _ => {
                let parts = list.total_entries.unwrap_or_default() / ROWS_OF_A_PART + 1;
                let latest = moments.into_iter().flatten().fold(Utc::now(), DateTime::max);
                window.parts(parts, latest.trunc_subsecs(6))
            }
        }
    }

    /// Reads all pages of what cannot be split, over and over until as many different rows came as there are. A list
    /// without an order may hide the same rows every time, so the many of one mapped task are read by its own list.
    async fn gather(&self, query: &Query<'_>) -> Result<Vec<model::TaskInstance>, ProviderError> {
        let mut found = Found::new();
        let mut total = 0;
        for pass in 0..PASSES {
            total = self.add_all(&self.path(), query, &mut found).await?;
            if pass == 0 && (found.len() as u64) < total.min(MOST) {
                self.add_mapped(query, &mut found).await?;
            }
            if found.len() as u64 >= total {
                return Ok(found.into_values().collect());
            }
        }
        let reason = format!("a list of {total} task instances that shows only {} of them", found.len());
        Err(ProviderError::Malformed { reason })
    }

    /// Adds what the pages of a list show; how many rows it is said to hold.
    async fn add_all(
        &self,
        path: &[&str],
        query: &Query<'_>,
        found: &mut Found,
    ) -> Result<u64, ProviderError> {
        let mut total = 0;
        let mut position = Some(Position::Offset(0));
        while let Some(here) = position.filter(|_| total <= MOST) {
            let list: List<TaskInstance> = pages::ask(self.session, path, query, &here).await?;
            total = list.total_entries.unwrap_or_default();
            position = pages::next(&list, &here)?.filter(|_| !list.items.is_empty());
            let rows = list.items.into_iter().map(TaskInstance::model);
            found.extend(rows.map(|row| (row.key(), row)));
        }
        Ok(total)
    }

    /// Adds the instances of each mapped task of which one was found: their list is ordered by their index.
    async fn add_mapped(&self, query: &Query<'_>, found: &mut Found) -> Result<(), ProviderError> {
        let mapped = found.values().filter(|row| row.map_index >= 0);
        let tasks: BTreeSet<_> =
            mapped.map(|row| (row.dag_id.clone(), row.run_id.clone(), row.task_id.clone())).collect();
        let mut query = query.clone();
        query.retain(|(name, _)| *name != "order_by");
        for (dag, run, task) in &tasks {
            let below = ["dags", dag, "dagRuns", run, "taskInstances", task, "listMapped"];
            let path = [&self.api[..], &below].concat();
            self.add_all(&path, &query, found).await?;
        }
        Ok(())
    }

    fn within(&self, window: Window) -> Query<'_> {
        let mut query = self.query.clone();
        if let Some(axis) = &self.axis {
            let [from, to] = axis.bounds;
            query.push((from, zulu(window.from)));
            query.extend(window.to.map(|end| (to, zulu(end))));
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

    fn assert_covers(whole: Window, parts: &[Window]) -> Result<(), TestCaseError> {
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
        fn parts_cover_a_window(from in 0..i64::from(u32::MAX), length in proptest::option::of(0..100_000_000_000_i64), parts in any::<u64>(), latest in 0..i64::from(u32::MAX)) {
            let whole = Window { from: moment(from), to: length.map(|length| moment(from + length)) };
            let parts = whole.parts(parts, moment(latest));
            prop_assert!(parts.len() as u64 <= MOST_PARTS + 2);
            if whole.to.is_none_or(|to| to - whole.from >= SHORTEST) {
                prop_assert!(parts.len() >= 2);
                assert_covers(whole, &parts)?;
            } else {
                prop_assert!(parts.is_empty());
            }
        }

        #[test]
        fn a_moment_parts_a_window(from in 0..1000_i64, inside in 0..1000_i64, rest in proptest::option::of(1..1000_i64)) {
            let moment_inside = moment(from + inside);
            let whole = Window { from: moment(from), to: rest.map(|rest| moment(from + inside + rest)) };
            assert_covers(whole, &whole.around(moment_inside))?;
        }
    }
}
