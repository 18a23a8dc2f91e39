//! Pagination, once: what is asked for, and the headers that a page of a list goes out with.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::http::request::{Query, is_named};

pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
pub const PAGE: HeaderName = HeaderName::from_static("x-page");
pub const PAGE_SIZE: HeaderName = HeaderName::from_static("x-page-size");
pub const TOTAL_PAGES: HeaderName = HeaderName::from_static("x-total-pages");

const DEFAULT_SIZE: i64 = 100;
const LARGEST_SIZE: i64 = 500;

/// Which part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paging {
    /// From 1.
    page: i64,
    size: i64,
}

impl Paging {
    /// Reads `page` and `size`.
    pub fn read(query: &mut Query) -> Self {
        let page = query.integer("page", 1..=i64::MAX).unwrap_or(1);
        let size = query.integer("size", 1..=i64::MAX).unwrap_or(DEFAULT_SIZE);
        Self { page, size: size.min(LARGEST_SIZE) }
    }

    /// The most rows of a page.
    pub fn limit(self) -> i64 {
        self.size
    }

    /// The rows of all pages before it.
    pub fn offset(self) -> i64 {
        (self.page - 1).saturating_mul(self.size)
    }
}

/// Some rows of a list, and how many the whole list has.
#[derive(Debug)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub total: i64,
}

/// A page on its way out.
pub struct Page<T> {
    rows: Rows<T>,
    paging: Paging,
    target: Target,
}

impl<T> Page<T> {
    pub fn new(rows: Rows<T>, paging: Paging, target: Target) -> Self {
        Self { rows, paging, target }
    }
}

/// What was asked for, to be asked for again with another page.
pub struct Target(Uri);

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let axum::extract::OriginalUri(uri) =
            axum::extract::OriginalUri::from_request_parts(parts, state).await?;
        Ok(Self(uri))
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let headers = headers(self.rows.total, self.paging, &self.target.0);
        (headers, Json(self.rows.rows)).into_response()
    }
}

fn headers(total: i64, paging: Paging, uri: &Uri) -> HeaderMap {
    let pages = total.max(0).unsigned_abs().div_ceil(paging.size.unsigned_abs());
    let mut headers = HeaderMap::from_iter([
        (TOTAL_COUNT, HeaderValue::from(total)),
        (PAGE, HeaderValue::from(paging.page)),
        (PAGE_SIZE, HeaderValue::from(paging.size)),
        (TOTAL_PAGES, HeaderValue::from(pages)),
    ]);
    let pages = i64::try_from(pages).unwrap_or(i64::MAX);
    if let Ok(links) = HeaderValue::try_from(links(paging.page, pages, uri)) {
        headers.insert(header::LINK, links);
    }
    headers
}

/// The pages that exist around this one. An empty list has a first page all the same.
fn links(page: i64, pages: i64, uri: &Uri) -> String {
    let mut links = vec![(1, "first")];
    if page > 1 {
        links.push(((page - 1).min(pages).max(1), "prev"));
    }
    if page < pages {
        links.push((page + 1, "next"));
    }
    links.push((pages.max(1), "last"));
    let links = links.into_iter().map(|(page, rel)| format!("<{}>; rel=\"{rel}\"", other_page(uri, page)));
    links.collect::<Vec<_>>().join(", ")
}

fn other_page(uri: &Uri, page: i64) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !is_named(pair, "page"));
    let query: Vec<String> = kept.map(link_safe).chain([format!("page={page}")]).collect();
    format!("{}?{}", uri.path(), query.join("&"))
}

/// A link stands between angle brackets and within one header.
fn link_safe(pair: &str) -> String {
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
        let headers = headers(total, Paging { page, size: 10 }, &uri.parse().unwrap());
        headers[header::LINK].to_str().unwrap().to_owned()
    }

    #[test]
    fn links_lead_to_the_pages_that_exist() {
        insta::assert_snapshot!(links_of(2, 25, "/x?q=a%20b&page=2&size=10"), @r#"</x?q=a%20b&size=10&page=1>; rel="first", </x?q=a%20b&size=10&page=1>; rel="prev", </x?q=a%20b&size=10&page=3>; rel="next", </x?q=a%20b&size=10&page=3>; rel="last""#);
        insta::assert_snapshot!(links_of(1, 5, "/x?%70age=7&pages=2"), @r#"</x?pages=2&page=1>; rel="first", </x?pages=2&page=1>; rel="last""#);
        insta::assert_snapshot!(links_of(1, 0, "/x"), @r#"</x?page=1>; rel="first", </x?page=1>; rel="last""#);
        insta::assert_snapshot!(links_of(9, 15, "/x"), @r#"</x?page=1>; rel="first", </x?page=2>; rel="prev", </x?page=2>; rel="last""#);
    }

    #[test]
    fn a_page_far_past_the_end_has_an_offset_that_fits() {
        let mut query = Query::of("page=99999999999999999999&size=9999");
        let paging = Paging::read(&mut query);
        assert_eq!((paging.limit(), paging.offset()), (500, i64::MAX));
    }
}
