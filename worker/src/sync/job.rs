//! The job of one pass: a leased connector and the syncs that the pass completes.

use chrono::{DateTime, TimeDelta, Utc};
use contract::events::Source;
use contract::ids::SyncId;
use contract::trace::TraceContext;
use platform::offsets::Offsets;
use provider::connector::{ConnectorConfig, Secrets};

use super::budget::SyncBudget;
use crate::store::change_cursors::ChangeCursors;
use crate::store::connector_state::Lease;

/// A leased connector and the syncs that one pass over it completes.
#[derive(Clone, Debug)]
pub struct SyncJob {
    pub lease: Lease,
    /// The slug of the connector's space.
    pub space: String,
    pub config: ConnectorConfig,
    pub secrets: Secrets,
    /// The provider's times from which changes are read; none before the first sync.
    pub cursors: Option<ChangeCursors>,
    /// How far before the cursor changes are read again: the provider stamps them by several clocks, and
    /// commits them later than it stamps them.
    pub overlap: TimeDelta,
    /// When the last complete poll began, by PostgreSQL's clock.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The offsets after the last records that earlier syncs have published: the read model may lack them.
    pub published: Offsets,
    pub syncs: Vec<SyncId>,
    /// When the latest full sync among them was requested: every history must have been read since.
    pub full_since: Option<DateTime<Utc>>,
    /// Whether one of the full syncs accepts a mass deletion.
    pub accept_mass_deletion: bool,
    pub budget: SyncBudget,
    /// The trace context of the first of them that has one.
    pub trace: Option<TraceContext>,
}

impl SyncJob {
    /// The source of the events that the pass publishes.
    pub fn source(&self) -> Source {
        Source { space: self.space.clone(), connector_id: self.lease.connector_id }
    }
}
