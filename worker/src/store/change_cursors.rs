//! The cursors of a connector: up to which time of the provider its changes were read.

use chrono::{DateTime, Utc};

/// Up to which time of the provider each list of changes was read. They differ while the provider refuses one
/// list, or does not answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeCursors {
    pub runs: DateTime<Utc>,
    pub task_runs: DateTime<Utc>,
}

impl ChangeCursors {
    /// The same time for both lists.
    pub(crate) fn both(at: DateTime<Utc>) -> Self {
        Self { runs: at, task_runs: at }
    }

    /// The stored cursors: the earlier one, and each one that is ahead of it.
    pub(super) fn of_stored(
        earliest: DateTime<Utc>,
        runs: Option<DateTime<Utc>>,
        task_runs: Option<DateTime<Utc>>,
    ) -> Self {
        Self { runs: runs.unwrap_or(earliest), task_runs: task_runs.unwrap_or(earliest) }
    }

    /// The time up to which all changes were read.
    pub fn earliest(self) -> DateTime<Utc> {
        self.runs.min(self.task_runs)
    }
}
