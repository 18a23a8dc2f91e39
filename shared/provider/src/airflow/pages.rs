//! Where a page of Airflow's lists starts, how that is written into a `PageToken`, and where the next one starts.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error_body;
use super::session::{Query, Session};
use super::windows::Window;
use super::wire::List;
use crate::{Page, PageToken, ProviderError};

/// Asked of every list; servers may give fewer, so a page steps by the rows that came. The smaller ones are for rows so
/// large that a page of them is too much.
const LIMITS: [usize; 4] = [100, 20, 4, 1];

/// A place in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Position {
    /// Behind so many rows.
    Offset(u64),
    /// Where the server's own cursor says; empty at the start.
    Cursor(String),
    /// These windows of time are still to be read, the last one first.
    Windows(Vec<Window>),
}

impl Position {
    /// Where the token says, or at the start.
    pub fn at(page: Option<&PageToken>, start: Self) -> Result<Self, ProviderError> {
        let Some(PageToken(text)) = page else { return Ok(start) };
        serde_json::from_str(text).map_err(|_| {
            ProviderError::Misconfigured("The page token is not one of this provider's.".to_owned())
        })
    }

    /// As the caller keeps it.
    pub fn token(&self) -> Result<PageToken, ProviderError> {
        let text = serde_json::to_string(self);
        text.map(PageToken).map_err(|error| ProviderError::Malformed { reason: error.to_string() })
    }
}

/// Reads one page of a list that is ordered by a unique key.
///
/// # Errors
/// Also when the server says that there is more and does not give it: a cut list must not look like a whole one.
pub(super) async fn read<T: DeserializeOwned>(
    session: &Session,
    path: &[&str],
    query: &Query<'_>,
    position: Position,
) -> Result<Page<T>, ProviderError> {
    let mut list: List<T> = ask(session, path, query, &position).await?;
    if is_cut(&list, &position) {
        // Rows may have left the list while the server counted them, but hardly twice.
        list = ask(session, path, query, &position).await?;
    }
    if is_cut(&list, &position) {
        let reason =
            format!("a list said to hold {} that ends early", list.total_entries.unwrap_or_default());
        return Err(ProviderError::Malformed { reason });
    }
    let next = next(&list, &position)?.map(|next| next.token()).transpose()?;
    Ok(Page { items: list.items, next })
}

/// One page, by one request unless its rows are huge.
pub(super) async fn ask<T: DeserializeOwned>(
    session: &Session,
    path: &[&str],
    query: &Query<'_>,
    position: &Position,
) -> Result<List<T>, ProviderError> {
    let [limit, smaller @ ..] = LIMITS;
    let mut list = ask_for(limit, session, path, query, position).await;
    for limit in smaller {
        if matches!(list, Err(ProviderError::Oversized { .. })) {
            list = ask_for(limit, session, path, query, position).await;
        }
    }
    list
}

async fn ask_for<T: DeserializeOwned>(
    limit: usize,
    session: &Session,
    path: &[&str],
    query: &Query<'_>,
    position: &Position,
) -> Result<List<T>, ProviderError> {
    let mut query = query.clone();
    query.push(("limit", limit.to_string()));
    match position {
        Position::Cursor(cursor) => query.push(("cursor", cursor.clone())),
        Position::Offset(offset) => query.push(("offset", offset.to_string())),
        Position::Windows(_) => {}
    }
    let answer = session.ask(path, query).await?;
    let list: List<T> = error_body::expect(&answer)?;
    Ok(List { clock: answer.clock().ok(), ..list })
}

/// Where the next page starts. A server without cursors passes over the one it is asked for and gives the first rows.
pub(super) fn next<T>(list: &List<T>, position: &Position) -> Result<Option<Position>, ProviderError> {
    let rows = list.items.len() as u64;
    match (position, &list.next_cursor) {
        (Position::Cursor(_), Some(None)) => Ok(None),
        (Position::Cursor(here), Some(Some(next))) if here == next || rows == 0 => {
            Err(ProviderError::Malformed { reason: "a list that does not go on".to_owned() })
        }
        (Position::Cursor(_), Some(Some(next))) => Ok(Some(Position::Cursor(next.clone()))),
        (position, _) => {
            let next = offset(position) + rows;
            let more = list.total_entries.map_or(rows > 0, |total| next < total);
            Ok(more.then_some(Position::Offset(next)))
        }
    }
}

/// Whether nothing came where the server says that there is something.
fn is_cut<T>(list: &List<T>, position: &Position) -> bool {
    let known = match position {
        Position::Cursor(cursor) => cursor.is_empty(),
        Position::Offset(_) | Position::Windows(_) => true,
    };
    known && list.items.is_empty() && list.total_entries.is_some_and(|total| total > offset(position))
}

fn offset(position: &Position) -> u64 {
    match position {
        Position::Offset(offset) => *offset,
        Position::Cursor(_) | Position::Windows(_) => 0,
    }
}

/// A time as every version takes it: any other way to write a time zone is refused.
pub(super) fn zulu(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}
