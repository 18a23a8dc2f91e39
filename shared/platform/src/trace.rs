//! The trace context of the current task: set while a request or a sync is worked on, read where a message is sent, and
//! carried into spawned tasks. Its wire form belongs to `contract::trace`.

use contract::trace::TraceContext;
use tracing::{Instrument, Span};

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Starts a span of the parent's trace, or of a new trace where there is no parent, and records its `trace_id` in the
/// log span. Where spans are exported to a collector, it is the exported one.
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

/// The trace context of the current task, if it has one.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Runs a future with this trace context; without one, runs it as it is.
pub async fn scope<F: Future>(trace: Option<TraceContext>, future: F) -> F::Output {
    match trace {
        Some(trace) => CURRENT.scope(trace, future).await,
        None => future.await,
    }
}

/// Carries the current trace context and log span into a future that is spawned as its own task.
pub fn propagate<F: Future>(future: F) -> impl Future<Output = F::Output> {
    scope(current(), future).instrument(Span::current())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scope_holds_its_trace_for_the_future_alone() {
        let trace = TraceContext::child(None);
        assert_eq!(scope(Some(trace), async { current() }).await, Some(trace));
        assert_eq!(current(), None);
    }
}
