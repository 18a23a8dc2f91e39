//! The progress of a sync, for its observers.

use contract::events::SyncReport;
use platform::offsets::Offsets;

/// How far a sync has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncProgress {
    pub phase: SyncPhase,
    pub histories_read: usize,
    pub histories_due: usize,
    pub report: SyncReport,
    /// The offsets after the last published records.
    pub published: Offsets,
}

/// The phases of a sync in their order. A sync never goes back to an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncPhase {
    #[default]
    Connecting,
    Listing,
    Changes,
    Histories,
    Projecting,
    /// Another worker runs the sync, so its phase is not known.
    Remote,
}
