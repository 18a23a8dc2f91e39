//! Pagination of Airflow's lists: the position of a page, its encoding as a `PageToken`, and the position of
//! the next page. A page that fails because of one of its rows is read in smaller parts, down to the row.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::body_reader::BODY_LIMIT;
use super::error_body;
use super::fields::RowFields;
use super::list_failures::ListFailures;
use super::page_offsets::{MAX_LIMIT, PageOffsets};
use super::rows::{List, MAX_PAGE_BYTES, RowDecoder};
use super::session::{QueryParameters, Retries, Session};
use super::windows::UnreadWindows;
use crate::{Page, PageToken, ProviderError};

/// An offset beyond the end of every list: the page is empty, and has the number of rows.
const PAST_END: u64 = i32::MAX as u64;

/// The position of a page in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PagePosition {
    /// The number of rows before the page, and its size.
    PageOffsets(PageOffsets),
    /// The server's cursor; empty at the start.
    Cursor(String),
    /// The unread time windows, of which the last one is read next.
    Windows(UnreadWindows),
}

impl PagePosition {
    /// The first page, without a cursor.
    pub(super) fn start() -> Self {
        Self::PageOffsets(PageOffsets::start(ListFailures::default()))
    }

    /// Decodes the token; without a token the position is the start.
    pub(super) fn at(page: Option<&PageToken>, start: Self) -> Result<Self, ProviderError> {
        let Some(PageToken(text)) = page else { return Ok(start) };
        serde_json::from_str(text).map_err(|_| {
            ProviderError::Misconfigured("The page token is not one of this provider's.".to_owned())
        })
    }

    /// Encodes the position.
    pub(super) fn token(&self) -> Result<PageToken, ProviderError> {
        let text = serde_json::to_string(self);
        text.map(PageToken).map_err(|error| ProviderError::malformed(&error.to_string()))
    }
}

/// Whether a page may have failed because of one of its rows: the server cannot serialize it, or it is too
/// large.
pub(super) fn is_about_rows(error: &ProviderError) -> bool {
    matches!(
        error,
        ProviderError::Failing { status: 500, .. }
            | ProviderError::Malformed { .. }
            | ProviderError::Oversized { .. }
    )
}

/// A list that is read page by page.
pub(super) struct PagedList<'a, F> {
    pub session: &'a Session,
    pub path: &'a [&'a str],
    pub query: &'a QueryParameters<'a>,
    pub decoder: &'a RowDecoder<F>,
}

impl<T, F: Fn(&mut RowFields<'_>) -> Option<T>> PagedList<'_, F> {
    /// Reads one page of a list that is ordered by a unique key.
    ///
    /// # Errors
    /// A server that reports more rows than it returns is an error, too: a truncated list must not look
    /// complete.
    pub(super) async fn page(&self, position: &PagePosition) -> Result<Page<T>, ProviderError> {
        let (mut list, mut next) = self.read(position).await?;
        if is_truncated(&list, position) {
            // Rows may be removed between the count and the read, but hardly twice.
            (list, next) = self.read(position).await?;
        }
        if is_truncated(&list, position) {
            let reason =
                format!("a list said to hold {} that ends early", list.total_entries.unwrap_or_default());
            return Err(ProviderError::malformed(&reason));
        }
        let next = next.map(|next| next.token()).transpose()?;
        let List { rows, permit, .. } = list;
        Ok(Page { items: rows.items, next, unreadable: rows.unreadable, permit })
    }

    /// Reads one page, and returns it with the position of the next one. A page that fails because of its
    /// rows is empty, and its parts follow. A single row that fails is lost.
    pub(super) async fn read(
        &self,
        position: &PagePosition,
    ) -> Result<(List<T>, Option<PagePosition>), ProviderError> {
        match self.request(position).await {
            Ok(list) => {
                let next = next(&list, position)?;
                Ok((list, next))
            }
            Err(error) if is_about_rows(&error) => self.read_in_parts(position, error).await,
            Err(error) => Err(error),
        }
    }

    /// Requests one page.
    pub(super) async fn request(&self, position: &PagePosition) -> Result<List<T>, ProviderError> {
        let (limit, retries) = match position {
            PagePosition::PageOffsets(offsets) => (offsets.limit(), offsets.retries()),
            PagePosition::Cursor(_) | PagePosition::Windows(_) => (MAX_LIMIT, Retries::All),
        };
        let place = match position {
            PagePosition::Cursor(cursor) => ("cursor", cursor.clone()),
            PagePosition::PageOffsets(offsets) => ("offset", offsets.next().to_string()),
            PagePosition::Windows(_) => ("offset", "0".to_owned()),
        };
        self.request_at(place, limit, retries).await
    }

    async fn request_at(
        &self,
        place: (&'static str, String),
        limit: usize,
        retries: Retries,
    ) -> Result<List<T>, ProviderError> {
        let mut query = self.query.clone();
        query.extend([("limit", limit.to_string()), place]);
        let max_body = if limit > 1 { MAX_PAGE_BYTES } else { BODY_LIMIT };
        let response = self.session.send_list_get(self.path, query, retries, max_body).await?;
        // A server may round the limit; a list of more than twice the limit is invalid.
        let list = self.decoder.list(&response, 2 * limit);
        let list = list.map_err(|error| error_body::of_list(error, self.path))?;
        Ok(List { permit: response.permit, ..list })
    }

    /// Splits a page that fails, or leaves out its only row; after many failures also a few rows at once.
    ///
    /// # Errors
    /// The error of the page, if the list fails without rows, too, or most of its rows fail.
    async fn read_in_parts(
        &self,
        position: &PagePosition,
        error: ProviderError,
    ) -> Result<(List<T>, Option<PagePosition>), ProviderError> {
        let mut offsets = match position {
            PagePosition::PageOffsets(offsets) => offsets.clone(),
            PagePosition::Cursor(cursor) if cursor.is_empty() => PageOffsets::start(ListFailures::default()),
            // No cursor leads past a row that fails: the list is read again by offsets.
            PagePosition::Cursor(_) | PagePosition::Windows(_) => {
                return Ok((List::empty(), Some(PagePosition::start())));
            }
        };
        let is_first = offsets.failures().pages == 0;
        offsets.count_failure();
        if offsets.failures().are_of_most_rows() {
            return Err(error);
        }
        let is_left_out = offsets.failures().leave_out(offsets.limit());
        let total = if is_first || is_left_out { self.count_rows(&error).await? } else { None };
        if !is_left_out {
            offsets.split();
            return Ok((List::empty(), Some(PagePosition::PageOffsets(offsets))));
        }
        let (before, limit) = (offsets.next(), offsets.limit() as u64);
        let rows = total.map_or(limit, |total| limit.min(total.saturating_sub(before)).max(1));
        let named = if rows == 1 { "row".to_owned() } else { format!("rows {} to", before + 1) };
        let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
        let reason = format!("{named} {}{of}: {error}", before + rows);
        let list = self.decoder.lost_rows(self.path, &reason, rows, total);
        let next = next(&list, &PagePosition::PageOffsets(offsets))?;
        Ok((list, next))
    }

    /// The number of rows of a list, read without any of its rows: then the list itself works.
    ///
    /// # Errors
    /// The error of the page that failed, if this fails, too.
    pub(super) async fn count_rows(&self, failed: &ProviderError) -> Result<Option<u64>, ProviderError> {
        let place = ("offset", PAST_END.to_string());
        let list = self.request_at(place, 1, Retries::OfConnection).await;
        list.map(|list| list.total_entries).map_err(|_| failed.clone())
    }
}

/// The position of the next page. A server without cursors ignores the requested one and returns the first
/// rows.
pub(super) fn next<T>(
    list: &List<T>,
    position: &PagePosition,
) -> Result<Option<PagePosition>, ProviderError> {
    let (rows, lost) = (list.rows.count as u64, list.rows.lost.len() as u64);
    match (position, &list.next_cursor) {
        (PagePosition::Cursor(_), Some(None)) => Ok(None),
        (PagePosition::Cursor(here), Some(Some(next))) if here == next || rows == 0 => {
            Err(ProviderError::malformed("a list that does not go on"))
        }
        (PagePosition::Cursor(_), Some(Some(next))) => Ok(Some(PagePosition::Cursor(next.clone()))),
        (PagePosition::PageOffsets(offsets), _) => {
            Ok(offsets.after(rows, lost, list.total_entries).map(PagePosition::PageOffsets))
        }
        (PagePosition::Cursor(_) | PagePosition::Windows(_), _) => {
            let start = PageOffsets::start(ListFailures::default());
            Ok(start.after(rows, lost, list.total_entries).map(PagePosition::PageOffsets))
        }
    }
}

/// Whether the page is empty although the server reports more rows.
fn is_truncated<T>(list: &List<T>, position: &PagePosition) -> bool {
    let offset = match position {
        PagePosition::PageOffsets(offsets) => offsets.next(),
        PagePosition::Cursor(cursor) if cursor.is_empty() => 0,
        PagePosition::Windows(_) => 0,
        PagePosition::Cursor(_) => return false,
    };
    list.rows.count == 0 && list.total_entries.is_some_and(|total| total > offset)
}

/// The query of the rows whose last change was between these times.
pub(super) fn changed_between(since: DateTime<Utc>, until: DateTime<Utc>) -> QueryParameters<'static> {
    vec![("updated_at_gte", rfc3339_utc(since)), ("updated_at_lte", rfc3339_utc(until))]
}

/// A time in the only format that all versions accept: RFC 3339 with `Z`.
pub(super) fn rfc3339_utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
