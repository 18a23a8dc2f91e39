//! Pagination: the query parameters of a list, and the headers of its response.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::request::{Query, is_named};
use crate::store::page::{DEFAULT_PAGE_SIZE, Paging, Rows};

pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
pub const PAGE: HeaderName = HeaderName::from_static("x-page");
pub const PAGE_SIZE: HeaderName = HeaderName::from_static("x-page-size");
pub const TOTAL_PAGES: HeaderName = HeaderName::from_static("x-total-pages");

/// Reads the query parameters `page` and `size`.
pub fn read_paging(query: &mut Query) -> Paging {
    let number = query.integer("page", 1..=i64::MAX).unwrap_or(1);
    let size = query.integer("size", 1..=i64::MAX).unwrap_or(DEFAULT_PAGE_SIZE);
    Paging::new(number, size)
}

/// The response with one page of a list.
pub struct PageResponse<T> {
    rows: Rows<T>,
    paging: Paging,
    uri: RequestUri,
}

impl<T> PageResponse<T> {
    pub fn new(rows: Rows<T>, paging: Paging, uri: RequestUri) -> Self {
        Self { rows, paging, uri }
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
        let headers = headers(self.rows.total, self.paging, &self.uri.0);
        (headers, Json(self.rows.rows)).into_response()
    }
}

fn headers(total: i64, paging: Paging, uri: &Uri) -> HeaderMap {
    let pages = total.max(0).unsigned_abs().div_ceil(paging.limit().unsigned_abs());
    let mut headers = HeaderMap::from_iter([
        (TOTAL_COUNT, HeaderValue::from(total)),
        (PAGE, HeaderValue::from(paging.number())),
        (PAGE_SIZE, HeaderValue::from(paging.limit())),
        (TOTAL_PAGES, HeaderValue::from(pages)),
    ]);
    let pages = i64::try_from(pages).unwrap_or(i64::MAX);
    if let Ok(links) = HeaderValue::try_from(links(paging.number(), pages, uri)) {
        headers.insert(header::LINK, links);
    }
    headers
}

/// Returns the links to the neighbouring pages. Even an empty list has a first page.
fn links(page: i64, pages: i64, uri: &Uri) -> String {
    let mut links = vec![(1, "first")];
    if page > 1 {
        links.push(((page - 1).min(pages).max(1), "prev"));
    }
    if page < pages {
        links.push((page + 1, "next"));
    }
    links.push((pages.max(1), "last"));
    let links = links.into_iter().map(|(page, rel)| format!("<{}>; rel=\"{rel}\"", uri_of_page(uri, page)));
    links.collect::<Vec<_>>().join(", ")
}

fn uri_of_page(uri: &Uri, page: i64) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !is_named(pair, "page"));
    let query: Vec<String> = kept.map(escape_for_link).chain([format!("page={page}")]).collect();
    format!("{}?{}", uri.path(), query.join("&"))
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
    use super::*;

    fn links_of(page: i64, total: i64, uri: &str) -> String {
        let headers = headers(total, Paging::new(page, 10), &uri.parse().unwrap());
        headers[header::LINK].to_str().unwrap().to_owned()
    }

    #[test]
    fn links_name_only_existing_pages() {
        let links = |page, total, uri: &str| links_of(page, total, uri).replace(", ", "\n");
        insta::assert_snapshot!(links(2, 25, "/x?q=a%20b&page=2&size=10"), @r#"
        </x?q=a%20b&size=10&page=1>; rel="first"
        </x?q=a%20b&size=10&page=1>; rel="prev"
        </x?q=a%20b&size=10&page=3>; rel="next"
        </x?q=a%20b&size=10&page=3>; rel="last"
        "#);
        insta::assert_snapshot!(links(1, 5, "/x?%70age=7&pages=2"), @r#"
        </x?pages=2&page=1>; rel="first"
        </x?pages=2&page=1>; rel="last"
        "#);
        insta::assert_snapshot!(links(1, 0, "/x"), @r#"
        </x?page=1>; rel="first"
        </x?page=1>; rel="last"
        "#);
        insta::assert_snapshot!(links(9, 15, "/x"), @r#"
        </x?page=1>; rel="first"
        </x?page=2>; rel="prev"
        </x?page=2>; rel="last"
        "#);
    }

    #[test]
    fn offset_of_a_huge_page_number_does_not_overflow() {
        let mut query = Query::of("page=99999999999999999999&size=9999");
        let paging = read_paging(&mut query);
        assert_eq!((paging.limit(), paging.offset()), (500, i64::MAX));
    }
}
