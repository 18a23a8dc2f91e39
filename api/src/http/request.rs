//! What a request brings, read field by field so that every fault is told at once: ids of the path, the query and the
//! JSON body. What the values mean is for the routes.

pub mod body;
mod path;
mod query;
mod value;

pub use body::{Body, Fields};
pub use path::Id;
pub use query::{Query, is_named};
use serde::Serialize;
pub use value::{Wrong, one_of};

/// One thing that is wrong with the input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where: `path`, `query` or `body`, and the field in it.
    pub loc: Vec<String>,
    /// What, for a person.
    pub msg: String,
    /// What, for a program.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Fault {
    /// A fault of the body as a whole.
    pub fn body(wrong: Wrong) -> Self {
        Self::new(&["body"], wrong)
    }

    fn new(loc: &[&str], wrong: Wrong) -> Self {
        Self { loc: loc.iter().map(|&part| part.to_owned()).collect(), msg: wrong.message, kind: wrong.kind }
    }
}
