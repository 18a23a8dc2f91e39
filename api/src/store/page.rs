//! A page of a list: which rows are requested, and the rows that were found.

/// Rows per page when the client names no size.
pub const DEFAULT_PAGE_SIZE: i64 = 100;
/// The largest page size; a larger request is cut down to it.
pub const MAX_PAGE_SIZE: i64 = 500;

/// The page of a list that is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    number: i64,
    size: i64,
}

impl Paging {
    /// Returns a page; its number counts from 1. `size` is cut down to [`MAX_PAGE_SIZE`].
    pub fn new(number: i64, size: i64) -> Self {
        Self { number, size: size.min(MAX_PAGE_SIZE) }
    }

    /// Returns the page's number, from 1.
    pub fn number(self) -> i64 {
        self.number
    }

    /// Returns the maximum number of rows on the page.
    pub fn limit(self) -> i64 {
        self.size
    }

    /// Returns the number of rows on all pages before this one.
    pub fn offset(self) -> i64 {
        (self.number - 1).saturating_mul(self.size)
    }
}

/// The rows of one page, and the number of rows in the whole list.
#[derive(Debug)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub total: i64,
}
