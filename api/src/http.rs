//! What all routes share: connections, middleware, the parts of a request, pages, entity tags and errors.

pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod listener;
pub(crate) mod middleware;
pub mod pagination;
pub mod rate_limit;
mod raw_response;
pub mod request;

/// The path prefix of all routes except the service's own endpoints.
pub const BASE_PATH: &str = "/api/v1.0";
