//! What is asked of PostgreSQL, one file a table. Rights are settled before anything here is called; whatever belongs
//! to a space takes its id.

pub mod access;
pub mod audit;
pub mod comments;
pub mod connectors;
pub mod governance;
pub mod keys;
pub mod members;
pub mod pipelines;
pub mod runs;
pub mod spaces;
pub mod stream;
pub mod syncs;
pub mod task_runs;
pub mod teams;
pub mod triggers;
pub mod users;
