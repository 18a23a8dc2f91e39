//! Decodes lists of rows and single rows. Each row is decoded on its own, so that an unreadable row does not
//! affect the others.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Response;
use super::error_body;
use super::fields::{RowFields, items};
use super::json_text::has_more_values;
use crate::{Decoded, PagePermit, ProviderError, UnreadableRows};
use contract::events::UnreadableEntry;
use contract::state::EntityKind;

/// The names of the field that contains the list in a body.
const LISTS: [&str; 3] = ["dags", "dag_runs", "task_instances"];
/// The maximum number of values in a page of several rows, each of which has a limit of its own.
const MAX_PAGE_VALUES: usize = 100_000;
/// The maximum size of such a page, in bytes: several pages are in memory at once, as text and decoded.
pub(super) const MAX_PAGE_BYTES: usize = 6 << 20;

/// Decodes one kind of rows.
pub(super) struct RowDecoder<F> {
    pub what: EntityKind,
    /// The fields that identify a row.
    pub ids: &'static [&'static str],
    /// Decodes a row; none if the row cannot be identified.
    pub decode: F,
}

/// The rows of a response.
pub(super) struct DecodedRows<T> {
    pub items: Vec<T>,
    /// The number of rows in the response, including unreadable ones.
    pub count: usize,
    pub unreadable: UnreadableRows,
    /// A hash of the text of each row that could not be decoded or returned.
    pub lost: HashSet<u64>,
}

/// A decoded list: its rows and the fields for pagination.
pub(super) struct List<T> {
    pub rows: DecodedRows<T>,
    pub total_entries: Option<u64>,
    /// Absent before Airflow 3.3; null on the last page.
    pub next_cursor: Option<Option<String>>,
    /// The server's clock at the time of the response, to the second, if it is known.
    pub clock: Option<DateTime<Utc>>,
    pub permit: PagePermit,
}

impl<T> List<T> {
    /// A list of no rows, whose total is not known.
    pub(super) fn empty() -> Self {
        let rows = DecodedRows {
            items: Vec::new(),
            count: 0,
            unreadable: UnreadableRows::default(),
            lost: HashSet::new(),
        };
        Self { rows, total_entries: None, next_cursor: None, clock: None, permit: PagePermit::default() }
    }
}

impl<T, F: Fn(&mut RowFields<'_>) -> Option<T>> RowDecoder<F> {
    /// Decodes the body of a list.
    ///
    /// # Errors
    /// A list of more than `max` rows is an error, too, and one of several rows that takes too much memory.
    pub(super) fn list(&self, response: &Response, max: usize) -> Result<List<T>, ProviderError> {
        let text = error_body::json(response)?;
        let body = body_fields(&text)?;
        // What cannot be read of these counts as missing: the list is then read by offsets, to an empty page.
        let total_entries = body.raw("total_entries").and_then(parse);
        let next_cursor = match body.raw("next_cursor") {
            Some(cursor) => parse(cursor).map(Some),
            None => body.has("next_cursor").then_some(None),
        };
        let list = list(&body, &LISTS)?;
        let has_several_rows = || items(list, max).is_some_and(|rows| rows.len() > 1);
        let is_large = text.len() > MAX_PAGE_BYTES || has_more_values(list.get(), MAX_PAGE_VALUES);
        if is_large && has_several_rows() {
            return Err(ProviderError::Oversized { mib: MAX_PAGE_BYTES >> 20 });
        }
        let rows = self.rows(&body, &LISTS, max)?;
        let (clock, permit) = (response.clock().ok(), PagePermit::default());
        Ok(List { rows, total_entries, next_cursor, clock, permit })
    }

    /// Decodes the rows of the list that has one of these names.
    pub(super) fn rows(
        &self,
        body: &RowFields<'_>,
        names: &[&str],
        max: usize,
    ) -> Result<DecodedRows<T>, ProviderError> {
        let list = list(body, names)?;
        let Some(raw) = items(list, max) else {
            return Err(ProviderError::malformed(&format!("a list of more than {max} rows")));
        };
        let mut rows = DecodedRows {
            items: Vec::with_capacity(raw.len()),
            count: raw.len(),
            unreadable: UnreadableRows::default(),
            lost: HashSet::new(),
        };
        for row in raw {
            let item = self.row(row, &mut rows.unreadable);
            if item.is_none() {
                rows.lost.insert(hash(row.get()));
            }
            rows.items.extend(item);
        }
        Ok(rows)
    }

    /// A list of so many rows that the server cannot return, in the list with this path. Of their ids only
    /// those in the path are known.
    pub(super) fn lost_rows(
        &self,
        path: &[&str],
        reason: &str,
        count: u64,
        total_entries: Option<u64>,
    ) -> List<T> {
        let id = error_body::path_ids(path).chain(["unknown"]).collect::<Vec<_>>().join("/");
        let mut list = List { total_entries, ..List::empty() };
        let entries = vec![UnreadableEntry::new(self.what, &id, reason)];
        list.rows.count = usize::try_from(count).unwrap_or(usize::MAX);
        list.rows.unreadable = UnreadableRows { entries, count, lost: count };
        list.rows.lost.extend((0..count).map(|row| hash(&format!("{row} {reason}"))));
        list
    }

    /// Decodes a body that is a single row.
    ///
    /// # Errors
    /// A row with other ids than the requested ones is an error, too.
    pub(super) fn single(&self, response: &Response, ids: &[&str]) -> Result<Decoded<T>, ProviderError> {
        let text = error_body::json(response)?;
        let body = body_fields(&text)?;
        let is_requested =
            self.ids.iter().zip(ids).all(|(name, id)| body.shown_id(name).as_deref() == Some(id));
        let mut unreadable = UnreadableRows::default();
        match self.decode(body, &mut unreadable) {
            Some(value) if is_requested => Ok(Decoded { value, unreadable }),
            _ => Err(ProviderError::malformed("not what was asked for")),
        }
    }

    /// Decodes one row, and adds its unreadable fields to `unreadable`.
    fn row(&self, raw: &RawValue, unreadable: &mut UnreadableRows) -> Option<T> {
        let Some(fields) = RowFields::of(raw) else {
            unreadable.push(UnreadableEntry::new(self.what, "?", "the row is no object"), true);
            return None;
        };
        self.decode(fields, unreadable)
    }

    fn decode(&self, mut fields: RowFields<'_>, unreadable: &mut UnreadableRows) -> Option<T> {
        let item = (self.decode)(&mut fields);
        if let Some(problems) = fields.problems() {
            let ids = self.ids.iter().map(|id| fields.shown_id(id).unwrap_or_else(|| "?".to_owned()));
            let id = ids.collect::<Vec<_>>().join("/");
            unreadable.push(UnreadableEntry::new(self.what, &id, &problems), item.is_none());
        }
        item
    }
}

/// Checks that the body of a successful response is a list, without decoding it.
pub(super) fn expect_list(response: &Response) -> Result<(), ProviderError> {
    let text = error_body::json(response)?;
    list(&body_fields(&text)?, &LISTS).map(drop)
}

/// The fields of a body.
pub(super) fn body_fields(text: &str) -> Result<RowFields<'_>, ProviderError> {
    parse_text(text).ok_or_else(|| ProviderError::malformed("no JSON object"))
}

fn list<'a>(body: &RowFields<'a>, names: &[&str]) -> Result<&'a RawValue, ProviderError> {
    let list = names.iter().find_map(|name| body.raw(name));
    let list = list.ok_or_else(|| ProviderError::malformed(&format!("no list of {}", names.join(" or "))))?;
    if list.get().starts_with('[') {
        Ok(list)
    } else {
        Err(ProviderError::malformed("what should be a list is none"))
    }
}

fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    parse_text(raw.get())
}

fn parse_text<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn hash(row: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.hash(&mut hasher);
    hasher.finish()
}
