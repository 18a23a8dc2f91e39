//! The pages of one list that failed, and what has become of its rows.

use serde::{Deserialize, Serialize};

/// After so many failed pages a page that fails is split no further than to parts of [`MAX_LOST_ROWS`].
const MAX_FAILURES: u32 = 200;
/// The largest part of a page that is left out as a whole.
const MAX_LOST_ROWS: usize = 20;

/// What has become of a list so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ListFailures {
    /// How many pages have failed.
    pub pages: u32,
    read: u64,
    lost: u64,
}

impl ListFailures {
    pub(super) fn count_page(&mut self) {
        self.pages += 1;
    }

    /// Counts the rows of a page.
    pub(super) fn count_rows(&mut self, read: u64, lost: u64) {
        self.read += read;
        self.lost += lost;
    }

    /// Whether so many pages have failed that the search for single rows would take too long.
    pub(super) fn are_many(self) -> bool {
        self.pages > MAX_FAILURES
    }

    /// Whether the cause is hardly a few rows.
    pub(super) fn are_of_most_rows(self) -> bool {
        self.are_many() && self.lost >= self.read
    }

    /// Whether a part of so many rows that fails is left out.
    pub(super) fn leave_out(self, rows: usize) -> bool {
        rows == 1 || self.are_many() && rows <= MAX_LOST_ROWS
    }
}
