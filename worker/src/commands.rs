//! The commands that operators run: a sync in the foreground, a rebuild of the read model, publishing again
//! after a loss of Kafka, a backtest of signals, and dead letters.

pub mod backtest;
pub mod dead_letters;
pub mod rebuild;
pub mod republish;
pub mod sync;

/// The full syncs that a command requests are so many seconds apart, and less where they would take longer
/// than an hour: all at once they would delay the polls of all connectors.
const FULL_SYNC_SPACING: f64 = 10.0;
const FULL_SYNCS_WITHIN: f64 = 3600.0;
