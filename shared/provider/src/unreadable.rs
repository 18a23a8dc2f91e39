//! Rows of a provider that could not be read, or only in part.

use contract::events::{MAX_NAMED_UNREADABLE, UnreadableEntry};

/// The rows of one response that could not be read, or only in part: the first ones by name, and their
/// number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadableRows {
    /// At most [`MAX_NAMED_UNREADABLE`].
    pub entries: Vec<UnreadableEntry>,
    /// Of all of them.
    pub count: u64,
    /// Of those whose ids could not be read, so that they are missing from the items: an entity that is
    /// missing there may be one of them.
    pub lost: u64,
}

impl From<UnreadableEntry> for UnreadableRows {
    /// One row, of which a part could not be read.
    fn from(entry: UnreadableEntry) -> Self {
        Self { entries: vec![entry], count: 1, lost: 0 }
    }
}

impl UnreadableRows {
    /// Adds a row; a lost one is missing from the items.
    pub fn push(&mut self, entry: UnreadableEntry, is_lost: bool) {
        let entries = vec![entry];
        self.merge(Self { entries, count: 1, lost: is_lost.into() });
    }

    pub(crate) fn merge(&mut self, other: Self) {
        let free = MAX_NAMED_UNREADABLE.saturating_sub(self.entries.len());
        self.entries.extend(other.entries.into_iter().take(free));
        self.count += other.count;
        self.lost += other.lost;
    }
}

/// A value, and what of it could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded<T> {
    pub value: T,
    pub unreadable: UnreadableRows,
}

impl<T> Decoded<T> {
    /// A value that was read completely.
    pub fn whole(value: T) -> Self {
        Self { value, unreadable: UnreadableRows::default() }
    }

    pub(crate) fn map<U>(self, convert: impl FnOnce(T) -> U) -> Decoded<U> {
        Decoded { value: convert(self.value), unreadable: self.unreadable }
    }
}
