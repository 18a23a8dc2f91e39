//! The parts of a request: ids in the path, the query, the JSON body. They are read field by field, so that
//! one response reports every invalid field. The meaning of the values is up to the routes.

pub mod body;
mod json_text;
pub mod list;
mod path;
mod query;
mod value;

pub use body::{Body, Fields, LargeBody};
pub use path::{Id, path_parameter};
pub use query::{Query, is_named};
pub use value::{ValueError, id, one_of, text};
