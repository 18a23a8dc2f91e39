//! What every request and response shares, whichever route it takes: connections, middleware, the parts of a request,
//! pages, entity tags and errors.

pub(crate) mod connection;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod middleware;
pub mod pagination;
pub mod request;
