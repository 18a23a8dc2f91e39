//! Where traces come to their end, as the log tells it: once for each, however many batches it takes.

use std::collections::BTreeSet;

use super::Message;

/// So many traces of a batch are named in its line.
const NAMED: usize = 16;

/// The traces that were told of last.
#[derive(Default)]
pub struct Told(BTreeSet<String>);

impl Told {
    /// Says that a batch was applied; what nobody can search for, or was just told, is not worth a line.
    pub fn note(&mut self, group: &str, messages: &[Message]) {
        let traces: BTreeSet<String> =
            messages.iter().filter_map(|message| Some(message.trace()?.trace_id())).collect();
        let (records, named) = (messages.len(), traces.iter().take(NAMED).cloned().collect::<Vec<_>>());
        if traces.is_subset(&self.0) {
            tracing::debug!(group, records, "applied");
        } else {
            tracing::info!(group, records, traces = traces.len(), trace_ids = named.join(","), "applied");
        }
        if !traces.is_empty() {
            self.0 = traces;
        }
    }
}
