//! The event stream: one tail per process reads changes from Kafka into a buffer, and every open stream reads
//! those of its space from there. Authorization and the HTTP request are up to the route.

mod buffer;
mod cursor;
mod filter;
mod hub;
mod log_reader;
mod sse;
mod tail;

use contract::events::Topic;

pub use self::cursor::Positions;
pub use self::filter::{ChangeKind, EVENT_STATUSES, EventFilter};
pub use self::hub::{StreamConfig, StreamHub, StreamLimit, describe};
pub(crate) use self::sse::stream;
pub use self::tail::run;

/// The topics whose changes are streamed.
const STREAMED_TOPICS: [Topic; 7] = [
    Topic::Pipelines,
    Topic::Runs,
    Topic::TaskRuns,
    Topic::Syncs,
    Topic::Governance,
    Topic::Comments,
    Topic::Incidents,
];
