//! Pagination of Airflow's lists: the position of a page, its encoding as a `PageToken`, and the position of
//! the next page.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::fields::RowFields;
use super::rows::{List, RowDecoder};
use super::session::{QueryParameters, Session};
use super::windows::TimeWindow;
use crate::{Page, PageToken, ProviderError};

/// The page sizes to request. A server may return fewer rows, so the offset advances by the rows received.
/// The smaller sizes are used if a larger page exceeds the body limit.
const PAGE_SIZES: [usize; 4] = [100, 20, 4, 1];

/// The position of a page in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PagePosition {
    /// The number of rows before the page.
    Offset(u64),
    /// The server's cursor; empty at the start.
    Cursor(String),
    /// The unread time windows, of which the last one is read next.
    Windows(Vec<TimeWindow>),
}

impl PagePosition {
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

/// Reads one page of a list that is ordered by a unique key.
///
/// # Errors
/// A server that reports more rows than it returns is an error, too: a truncated list must not look complete.
pub(super) async fn read<T>(
    session: &Session,
    path: &[&str],
    query: &QueryParameters<'_>,
    position: PagePosition,
    decoder: &RowDecoder<impl Fn(&mut RowFields<'_>) -> Option<T>>,
) -> Result<Page<T>, ProviderError> {
    let mut list = request(session, path, query, &position, decoder).await?;
    if is_truncated(&list, &position) {
        // Rows may be removed between the count and the read, but hardly twice.
        list = request(session, path, query, &position, decoder).await?;
    }
    if is_truncated(&list, &position) {
        let reason =
            format!("a list said to hold {} that ends early", list.total_entries.unwrap_or_default());
        return Err(ProviderError::malformed(&reason));
    }
    let next = next(&list, &position)?.map(|next| next.token()).transpose()?;
    Ok(Page { items: list.rows.items, next, unreadable: list.rows.unreadable })
}

/// Requests one page, in several attempts with smaller sizes if its rows are large.
pub(super) async fn request<T>(
    session: &Session,
    path: &[&str],
    query: &QueryParameters<'_>,
    position: &PagePosition,
    decoder: &RowDecoder<impl Fn(&mut RowFields<'_>) -> Option<T>>,
) -> Result<List<T>, ProviderError> {
    let [limit, smaller @ ..] = PAGE_SIZES;
    let mut list = request_with_limit(limit, session, path, query, position, decoder).await;
    for limit in smaller {
        if matches!(list, Err(ProviderError::Oversized { .. })) {
            list = request_with_limit(limit, session, path, query, position, decoder).await;
        }
    }
    list
}

async fn request_with_limit<T>(
    limit: usize,
    session: &Session,
    path: &[&str],
    query: &QueryParameters<'_>,
    position: &PagePosition,
    decoder: &RowDecoder<impl Fn(&mut RowFields<'_>) -> Option<T>>,
) -> Result<List<T>, ProviderError> {
    let mut query = query.clone();
    query.push(("limit", limit.to_string()));
    match position {
        PagePosition::Cursor(cursor) => query.push(("cursor", cursor.clone())),
        PagePosition::Offset(offset) => query.push(("offset", offset.to_string())),
        PagePosition::Windows(_) => {}
    }
    let response = session.send_get(path, query).await?;
    // A server may round the limit; a list of more than twice the limit is invalid.
    decoder.list(&response, 2 * limit)
}

/// The position of the next page. A server without cursors ignores the requested one and returns the first
/// rows.
pub(super) fn next<T>(
    list: &List<T>,
    position: &PagePosition,
) -> Result<Option<PagePosition>, ProviderError> {
    let rows = list.rows.count as u64;
    match (position, &list.next_cursor) {
        (PagePosition::Cursor(_), Some(None)) => Ok(None),
        (PagePosition::Cursor(here), Some(Some(next))) if here == next || rows == 0 => {
            Err(ProviderError::malformed("a list that does not go on"))
        }
        (PagePosition::Cursor(_), Some(Some(next))) => Ok(Some(PagePosition::Cursor(next.clone()))),
        (position, _) => {
            let next = offset(position) + rows;
            let more = list.total_entries.map_or(rows > 0, |total| next < total);
            Ok(more.then_some(PagePosition::Offset(next)))
        }
    }
}

/// Whether the page is empty although the server reports more rows.
fn is_truncated<T>(list: &List<T>, position: &PagePosition) -> bool {
    let has_known_offset = match position {
        PagePosition::Cursor(cursor) => cursor.is_empty(),
        PagePosition::Offset(_) | PagePosition::Windows(_) => true,
    };
    has_known_offset
        && list.rows.count == 0
        && list.total_entries.is_some_and(|total| total > offset(position))
}

fn offset(position: &PagePosition) -> u64 {
    match position {
        PagePosition::Offset(offset) => *offset,
        PagePosition::Cursor(_) | PagePosition::Windows(_) => 0,
    }
}

/// A time in the only format that all versions accept: RFC 3339 with `Z`.
pub(super) fn rfc3339_utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
