//! The log of applied traces: each trace is logged once, however many batches it takes.

use std::collections::BTreeSet;

use crate::records::ConsumedRecord;

/// How many trace ids the line of a batch names at most.
const MAX_LOGGED_IDS: usize = 16;

/// The ids of the traces that were logged last.
#[derive(Default)]
pub(super) struct TraceLog(BTreeSet<String>);

impl TraceLog {
    /// Logs that a batch was applied: at level info if it has traces that were not logged just before.
    pub(super) fn log_batch(&mut self, group: &str, batch: &[ConsumedRecord]) {
        let traces: BTreeSet<String> =
            batch.iter().filter_map(|record| Some(record.trace()?.trace_id())).collect();
        let (records, ids) = (batch.len(), traces.iter().take(MAX_LOGGED_IDS).cloned().collect::<Vec<_>>());
        if traces.is_subset(&self.0) {
            tracing::debug!(group, records, "batch applied");
        } else {
            tracing::info!(group, records, traces = traces.len(), trace_ids = ids.join(","), "batch applied");
        }
        if !traces.is_empty() {
            self.0 = traces;
        }
    }
}
