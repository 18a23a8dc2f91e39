//! Pagination: the query parameters of a list, and the headers of its response.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::http::request::{Query, ValueError, is_named};
use crate::store::page::{DEFAULT_PAGE_SIZE, ListOrder, MAX_PAGED, Paging, Position, Rows, Total};

pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
pub const TOTAL_RELATION: HeaderName = HeaderName::from_static("x-total-relation");
pub const PAGE: HeaderName = HeaderName::from_static("x-page");
pub const PAGE_SIZE: HeaderName = HeaderName::from_static("x-page-size");
pub const TOTAL_PAGES: HeaderName = HeaderName::from_static("x-total-pages");
pub const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");

/// The parameters that choose a page of a list, not the list.
const PAGE_PARAMETERS: [&str; 4] = ["page", "size", "cursor", "runs"];

/// The maximum length of the headers `Link` and `X-Next-Cursor` together, which leaves room for the others:
/// proxies refuse responses whose headers are larger than 4 or 8 KiB.
const MAX_LINK_LENGTH: usize = 3000;

/// Reads the query parameters `page`, `size` and `cursor`. All other parameters have been read before,
/// because a cursor belongs to them.
pub fn read_paging(query: &mut Query, uri: RequestUri, order: ListOrder) -> PageRequest {
    let size = query.integer("size", 1..=i64::MAX).unwrap_or(DEFAULT_PAGE_SIZE);
    read_cursor(query, uri, order, size, |query| read_number(query, order, size))
}

/// Reads the query parameter `cursor`, of a list that has no numbered pages.
pub fn read_position(query: &mut Query, uri: RequestUri, order: ListOrder, size: i64) -> PageRequest {
    read_cursor(query, uri, order, size, |_| Paging::new(order, 1, size))
}

fn read_cursor(
    query: &mut Query,
    uri: RequestUri,
    order: ListOrder,
    size: i64,
    first: impl FnOnce(&mut Query) -> Paging,
) -> PageRequest {
    let list = query.digest(uri.0.path(), &PAGE_PARAMETERS);
    let paging = match query.one("cursor", |text| PageCursor::read(text, &list, order)) {
        Some(position) => Paging::after(order, position, size),
        None => first(query),
    };
    PageRequest { paging, list, uri: uri.0 }
}

fn read_number(query: &mut Query, order: ListOrder, size: i64) -> Paging {
    let number = query.integer("page", 1..=i64::MAX).unwrap_or(1);
    let paging = Paging::new(order, number, size);
    if paging.offset().saturating_add(paging.limit()) > MAX_PAGED {
        let message = format!("no page ends beyond row {MAX_PAGED}; read on with cursor, from X-Next-Cursor");
        query.reject("page", ValueError::new("value_error.number.not_le", message));
    }
    paging
}

/// The requested page of a list, with what its links and cursors are made of.
pub struct PageRequest {
    pub paging: Paging,
    /// The digest of the list's path and parameters.
    list: String,
    uri: Uri,
}

impl PageRequest {
    /// Returns the header with the cursor of the next page, if there is one.
    pub fn next_cursor(self, next: Option<Position>) -> HeaderMap {
        let cursor = next.map(|position| PageCursor { list: self.list, position }.write());
        let cursor = cursor.and_then(|cursor| HeaderValue::try_from(cursor).ok());
        cursor.into_iter().map(|cursor| (NEXT_CURSOR, cursor)).collect()
    }
}

/// The content of a cursor.
#[derive(Serialize, Deserialize)]
struct PageCursor {
    list: String,
    position: Position,
}

impl PageCursor {
    fn read(text: &str, list: &str, order: ListOrder) -> Result<Position, ValueError> {
        let error = |message: &str| ValueError::new("value_error", message);
        let cursor = URL_SAFE_NO_PAD.decode(text).ok();
        let cursor = cursor.and_then(|json| serde_json::from_slice::<Self>(&json).ok());
        let cursor = cursor.ok_or_else(|| error("value is not a cursor from X-Next-Cursor"))?;
        if cursor.list != list || !order.accepts(&cursor.position.key) {
            return Err(error("the cursor belongs to another list, filter or sort; begin without one"));
        }
        Ok(cursor.position)
    }

    fn write(&self) -> String {
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The response with one page of a list.
pub struct PageResponse<T> {
    rows: Rows<T>,
    page: PageRequest,
}

impl<T> PageResponse<T> {
    pub fn new(rows: Rows<T>, page: PageRequest) -> Self {
        Self { rows, page }
    }
}

/// The URI of the request, from which the links to other pages are made.
pub struct RequestUri(Uri);

impl<S: Send + Sync> FromRequestParts<S> for RequestUri {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let axum::extract::OriginalUri(uri) =
            axum::extract::OriginalUri::from_request_parts(parts, state).await?;
        Ok(Self(uri))
    }
}

impl<T: Serialize> IntoResponse for PageResponse<T> {
    fn into_response(self) -> Response {
        let Rows { rows, total, next } = self.rows;
        (headers(total, next, self.page), Json(rows)).into_response()
    }
}

fn headers(total: Total, next: Option<Position>, page: PageRequest) -> HeaderMap {
    let PageRequest { paging, list, uri } = page;
    let mut headers = HeaderMap::from_iter([
        (TOTAL_COUNT, HeaderValue::from(total.rows)),
        (TOTAL_RELATION, HeaderValue::from_static(if total.is_exact { "eq" } else { "gte" })),
        (PAGE_SIZE, HeaderValue::from(paging.limit())),
    ]);
    let cursor = next.map(|position| PageCursor { list, position }.write());
    let links = if let Some(number) = paging.number() {
        let pages = total.rows.max(0).unsigned_abs().div_ceil(paging.limit().unsigned_abs());
        headers.extend([(PAGE, HeaderValue::from(number)), (TOTAL_PAGES, HeaderValue::from(pages))]);
        let pages = i64::try_from(pages).unwrap_or(i64::MAX);
        links(number, pages, total.is_exact, cursor.is_some(), &uri)
    } else {
        cursor.iter().map(|cursor| link(&uri, "cursor", cursor, "next")).collect()
    };
    let next = links.iter().find(|link| link.ends_with("rel=\"next\"")).cloned();
    // Where not all links fit, the one to the next page matters most.
    let max_length = MAX_LINK_LENGTH.saturating_sub(cursor.as_ref().map_or(0, String::len));
    let link = [links.join(", "), next.unwrap_or_default()].into_iter().find(|link| link.len() <= max_length);
    let texts = [(header::LINK, link.filter(|link| !link.is_empty())), (NEXT_CURSOR, cursor)];
    headers.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text?.try_into().ok()?))));
    headers
}

/// Returns the links to the neighbouring pages. Even an empty list has a first page.
fn links(page: i64, pages: i64, is_exact: bool, has_next: bool, uri: &Uri) -> Vec<String> {
    let mut links = vec![(1, "first")];
    if page > 1 {
        links.push((if is_exact { (page - 1).min(pages).max(1) } else { page - 1 }, "prev"));
    }
    if has_next {
        links.push((page + 1, "next"));
    }
    if is_exact {
        links.push((pages.max(1), "last"));
    }
    links.into_iter().map(|(page, rel)| link(uri, "page", &page.to_string(), rel)).collect()
}

/// Returns a link to a page of the list that this parameter chooses.
fn link(uri: &Uri, parameter: &str, value: &str, rel: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let is_kept = |pair: &&str| !pair.is_empty() && !is_named(pair, "page") && !is_named(pair, "cursor");
    let kept = query.split('&').filter(is_kept).map(escape_for_link);
    let query: Vec<String> = kept.chain([format!("{parameter}={value}")]).collect();
    format!("<{}?{}>; rel=\"{rel}\"", uri.path(), query.join("&"))
}

/// Escapes what would end the link in its header.
fn escape_for_link(pair: &str) -> String {
    pair.chars()
        .map(|c| match c {
            '<' => "%3C".to_owned(),
            '>' => "%3E".to_owned(),
            '"' => "%22".to_owned(),
            c if c.is_ascii_graphic() => c.to_string(),
            c => percent_encoding::utf8_percent_encode(&c.to_string(), percent_encoding::NON_ALPHANUMERIC)
                .to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::page::{KeyKind, KeyValue};

    const ORDER: ListOrder = ListOrder::by("name", KeyKind::Text, "id").nullable();

    fn page(uri: &str) -> (PageRequest, Query) {
        let uri: Uri = uri.parse().unwrap();
        let mut query = Query::of(uri.query().unwrap_or_default());
        query.text("q");
        (read_paging(&mut query, RequestUri(uri), ORDER), query)
    }

    fn headers_of(uri: &str, rows: i64, is_exact: bool, next: Option<Position>) -> HeaderMap {
        headers(Total { rows, is_exact }, next, page(uri).0)
    }

    fn position(key: &str) -> Position {
        Position { key: KeyValue::Text(key.to_owned()), id: Uuid::from_u128(7) }
    }

    #[test]
    fn links_name_only_existing_pages() {
        let links = |uri: &str, rows, is_exact, has_next: bool| {
            let headers = headers_of(uri, rows, is_exact, has_next.then(|| position("a")));
            headers[header::LINK].to_str().unwrap().replace(", ", "\n")
        };
        insta::assert_snapshot!(links("/x?q=a%20b&page=2&size=10", 25, true, true), @r#"
        </x?q=a%20b&size=10&page=1>; rel="first"
        </x?q=a%20b&size=10&page=1>; rel="prev"
        </x?q=a%20b&size=10&page=3>; rel="next"
        </x?q=a%20b&size=10&page=3>; rel="last"
        "#);
        insta::assert_snapshot!(links("/x?%70age=1&pages=2", 5, true, false), @r#"
        </x?pages=2&page=1>; rel="first"
        </x?pages=2&page=1>; rel="last"
        "#);
        insta::assert_snapshot!(links("/x", 0, true, false), @r#"
        </x?page=1>; rel="first"
        </x?page=1>; rel="last"
        "#);
        insta::assert_snapshot!(links("/x?page=9&size=10", 15, true, false), @r#"
        </x?size=10&page=1>; rel="first"
        </x?size=10&page=2>; rel="prev"
        </x?size=10&page=2>; rel="last"
        "#);
        insta::assert_snapshot!(links("/x?page=150&size=100", 14_901, false, true), @r#"
        </x?size=100&page=1>; rel="first"
        </x?size=100&page=149>; rel="prev"
        </x?size=100&page=151>; rel="next"
        "#);
    }

    #[test]
    fn a_cursor_chooses_the_next_page_of_the_same_list_only() {
        let first = headers_of("/x?size=10&q=a&unknown=1", 25, true, Some(position("ä")));
        let cursor = first[NEXT_CURSOR].to_str().unwrap();
        let (next, query) = page(&format!("/x?cursor={cursor}&unknown=2&q=a&size=20&page=0"));
        assert!(query.finish().is_ok());
        assert_eq!(next.paging, Paging::after(ORDER, position("ä"), 20));
        let headers = headers(Total { rows: 25, is_exact: true }, Some(position("b")), next);
        assert!(!headers.contains_key(PAGE) && !headers.contains_key(TOTAL_PAGES));
        let link = headers[header::LINK].to_str().unwrap();
        assert!(
            link.starts_with("</x?unknown=2&q=a&size=20&cursor=") && link.ends_with(">; rel=\"next\""),
            "{link}"
        );
        for other in ["/x", "/x?q=b", "/y?q=a"] {
            let separator = if other.contains('?') { '&' } else { '?' };
            let (_, query) = page(&format!("{other}{separator}cursor={cursor}"));
            assert!(query.finish().is_err(), "{other}");
        }
        let wrong = PageCursor {
            list: Query::of("").digest("/x", &[]),
            position: Position { key: KeyValue::Number(0), ..position("") },
        };
        for text in ["", "x", &cursor[1..], &wrong.write()] {
            assert!(page(&format!("/x?cursor={text}")).1.finish().is_err(), "{text}");
        }
    }

    #[test]
    fn links_that_are_too_long_are_left_out() {
        let rels = |length: usize| {
            let uri = format!("/x?page=2&q={}", "a".repeat(length));
            let headers = headers_of(&uri, 300, true, Some(position("a")));
            assert!(headers.contains_key(NEXT_CURSOR));
            headers.get(header::LINK).map_or(0, |link| link.to_str().unwrap().matches("rel=").count())
        };
        assert_eq!([600, 800, 2500, 2900].map(rels), [4, 1, 1, 0]);
    }

    #[test]
    fn deep_pages_are_refused() {
        let is_valid = |uri: &str| page(uri).1.finish().is_ok();
        assert!(is_valid("/x?page=200&size=500"));
        assert!(is_valid("/x?page=100000&size=1"));
        assert!(!is_valid("/x?page=201&size=9999"));
        assert!(!is_valid("/x?page=99999999999999999999&size=9999"));
    }
}
