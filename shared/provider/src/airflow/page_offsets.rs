//! Positions in a list by the number of rows before them: page by page, and in smaller parts where a page
//! failed.

use serde::{Deserialize, Serialize};

use super::list_failures::ListFailures;
use super::session::Retries;

/// The largest page to request. A server may return fewer rows, so the offset advances by the rows received.
pub(super) const MAX_LIMIT: usize = 100;
/// A page that fails is split into this many parts.
const PARTS: usize = 5;
/// So many failed pages of one list are requested again before they are split or left out, if they have one
/// row: the server may have failed for another reason.
const MAX_RETRIED_FAILURES: u32 = 10;

/// The unread parts of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageOffsets {
    /// The last part is read next. The first one is the rest of the list, page by page.
    parts: Vec<RowRange>,
    failures: ListFailures,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RowRange {
    offset: u64,
    limit: usize,
}

impl PageOffsets {
    /// The whole list, of which pages may have failed before.
    pub(super) fn start(failures: ListFailures) -> Self {
        Self { parts: vec![RowRange { offset: 0, limit: MAX_LIMIT }], failures }
    }

    fn part(&self) -> RowRange {
        self.parts.last().copied().unwrap_or(RowRange { offset: 0, limit: MAX_LIMIT })
    }

    /// The number of rows before the next page.
    pub(super) fn next(&self) -> u64 {
        self.part().offset
    }

    /// The size of the next page.
    pub(super) fn limit(&self) -> usize {
        self.part().limit
    }

    pub(super) fn failures(&self) -> ListFailures {
        self.failures
    }

    /// Which failures of the next page are retried. Parts of a page that failed are likely to fail again.
    pub(super) fn retries(&self) -> Retries {
        match (self.failures.pages, self.limit()) {
            (0, _) => Retries::All,
            (failures, 1) if failures < MAX_RETRIED_FAILURES => Retries::All,
            _ => Retries::OfConnection,
        }
    }

    /// Counts a page that failed.
    pub(super) fn count_failure(&mut self) {
        self.failures.count_page();
    }

    /// Splits the next page.
    pub(super) fn split(&mut self) {
        let RowRange { offset, limit } = self.part();
        self.parts.pop();
        if self.parts.is_empty() {
            self.parts.push(RowRange { offset: offset + limit as u64, limit: MAX_LIMIT });
        }
        let size = limit.div_ceil(PARTS);
        for start in (0..limit).step_by(size).rev() {
            let range = RowRange { offset: offset + start as u64, limit: size.min(limit - start) };
            self.parts.push(range);
        }
    }

    /// The position after so many rows of the next page, some of them lost; none at the end of the list.
    pub(super) fn after(&self, rows: u64, lost: u64, total: Option<u64>) -> Option<Self> {
        let RowRange { offset, limit } = self.part();
        let end = offset + rows;
        if rows == 0 || total.is_some_and(|total| end >= total) {
            return None;
        }
        let mut parts = self.parts.clone();
        parts.pop();
        match limit.saturating_sub(usize::try_from(rows).unwrap_or(usize::MAX)) {
            _ if parts.is_empty() => parts.push(RowRange { offset: end, limit: MAX_LIMIT }),
            0 => {}
            remaining => parts.push(RowRange { offset: end, limit: remaining }),
        }
        let mut failures = self.failures;
        failures.count_rows(rows.saturating_sub(lost), lost);
        Some(Self { parts, failures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a list of which these rows fail; returns the rows that were read and those that were left out.
    fn read(total: u64, failing: &[u64], most_rows: u64) -> (Vec<u64>, Vec<u64>) {
        let (mut read, mut lost) = (Vec::new(), Vec::new());
        let mut position = Some(PageOffsets::start(ListFailures::default()));
        while let Some(mut offsets) = position {
            let first = offsets.next();
            let end = (first + (offsets.limit() as u64).min(most_rows)).min(total);
            let fails = failing.iter().any(|row| (first..end).contains(row));
            if fails && offsets.limit() > 1 {
                offsets.count_failure();
                offsets.split();
                position = Some(offsets);
                continue;
            }
            if fails {
                lost.push(first)
            } else {
                read.extend(first..end)
            };
            position = offsets.after(end - first, fails.into(), Some(total));
        }
        (read, lost)
    }

    #[test]
    fn every_row_but_the_failing_ones_is_read_once() {
        for total in [0, 1, 99, 100, 101, 250] {
            for failing in [&[][..], &[0], &[37], &[99, 100], &[249], &[0, 1, 2, 50, 248]] {
                for most_rows in [3, 7, 100] {
                    let (read, lost) = read(total, failing, most_rows);
                    let is_failing = |row: &u64| failing.contains(row);
                    assert_eq!(read, Vec::from_iter((0..total).filter(|row| !is_failing(row))));
                    assert_eq!(lost, Vec::from_iter((0..total).filter(is_failing)));
                }
            }
        }
    }
}
