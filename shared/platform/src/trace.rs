//! The trace context of the current task: set for the duration of a request or a sync, read when a message is
//! sent, and propagated to spawned tasks. `contract::trace` defines its wire format.

use contract::trace::TraceContext;
use tracing::{Instrument, Span};

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Starts a span in the parent's trace, or in a new trace if there is no parent, and records its `trace_id`
/// in the log span. If spans are exported to a collector, the ids are those of the exported span.
pub fn start(span: &Span, parent: Option<TraceContext>) -> TraceContext {
    let trace = exported(span, parent).unwrap_or_else(|| TraceContext::child(parent));
    span.record("trace_id", trace.trace_id());
    trace
}

#[cfg(feature = "otlp")]
fn exported(span: &Span, parent: Option<TraceContext>) -> Option<TraceContext> {
    crate::telemetry::otlp::start(span, parent)
}

#[cfg(not(feature = "otlp"))]
fn exported(_: &Span, _: Option<TraceContext>) -> Option<TraceContext> {
    None
}

/// Returns the trace context of the current task, if it has one.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Runs a future with this trace context. Without one, the future runs in the current context.
pub async fn scope<F: Future>(trace: Option<TraceContext>, future: F) -> F::Output {
    match trace {
        Some(trace) => CURRENT.scope(trace, future).await,
        None => future.await,
    }
}

/// Wraps a future that is spawned as its own task in the current trace context and log span.
pub fn propagate<F: Future>(future: F) -> impl Future<Output = F::Output> {
    scope(current(), future).instrument(Span::current())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scope_sets_the_context_for_its_future_only() {
        let trace = TraceContext::child(None);
        assert_eq!(scope(Some(trace), async { current() }).await, Some(trace));
        assert_eq!(current(), None);
    }
}
