//! The SQL of the API, one file per table or query. The caller has checked the rights; every function on data
//! of a space takes the space's id. Nothing here depends on HTTP.

pub mod access;
pub mod audit;
pub mod comments;
pub mod connectors;
pub mod credentials;
pub mod expectations;
pub mod governance;
pub mod grid;
pub mod group_mappings;
pub mod identities;
pub mod inbox;
pub mod incidents;
pub mod keys;
pub mod members;
pub mod migrations;
pub mod notification_channels;
pub mod notification_deliveries;
pub mod notification_rules;
pub mod page;
pub mod pipelines;
pub mod rate_limits;
pub mod republish;
pub mod runs;
pub mod schema;
pub mod sessions;
pub mod spaces;
pub mod stream;
pub mod syncs;
pub mod task_runs;
pub mod teams;
pub mod triggers;
pub mod users;
