//! The thread that leads from a request to everything it brings about: W3C trace context, taken from `traceparent`,
//! carried along while something is done for it, and given to whatever is sent on.

use std::fmt;
use std::str::FromStr;

use tracing::{Instrument, Span};

/// The name of the header, in HTTP and in Kafka.
pub const HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Trace;
}

/// One step of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub(crate) id: u128,
    pub(crate) span: u64,
    pub(crate) flags: u8,
}

/// Not a `traceparent` that anybody could go on from.
#[derive(Debug, PartialEq, Eq)]
pub struct NoTrace;

impl Trace {
    /// The step that a span stands for: of the trace that led here, or the first of a new one. The span is told its
    /// `trace_id`, so that its log lines are found by it.
    pub fn begin(span: &Span, from: Option<Self>) -> Self {
        let step = sent(span, from).unwrap_or_else(|| Self::step(from));
        span.record("trace_id", step.id());
        step
    }

    /// The same without a span.
    pub fn step(from: Option<Self>) -> Self {
        // Zero means "none" in both.
        let span = rand::random_range(1..=u64::MAX);
        match from {
            Some(from) => Self { span, ..from },
            None => Self { id: rand::random_range(1..=u128::MAX), span, flags: 1 },
        }
    }

    /// What logs are searched for.
    pub fn id(self) -> String {
        format!("{:032x}", self.id)
    }
}

/// The step as a collector gets it, where there is one.
#[cfg(feature = "otlp")]
fn sent(span: &Span, from: Option<Trace>) -> Option<Trace> {
    crate::telemetry::otlp::step(span, from)
}

#[cfg(not(feature = "otlp"))]
fn sent(_: &Span, _: Option<Trace>) -> Option<Trace> {
    None
}

/// The step that is being done, if any.
pub fn current() -> Option<Trace> {
    CURRENT.try_with(|trace| *trace).ok()
}

/// Does something as a step that may not be there.
pub async fn lead<F: Future>(step: Option<Trace>, work: F) -> F::Output {
    match step {
        Some(step) => CURRENT.scope(step, work).await,
        None => work.await,
    }
}

/// Takes the step and the log's span along into a task of its own.
pub fn follow<F: Future>(work: F) -> impl Future<Output = F::Output> {
    lead(current(), work).instrument(Span::current())
}

impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.id, self.span, self.flags)
    }
}

impl FromStr for Trace {
    type Err = NoTrace;

    /// Later versions may say more behind what version 0 says.
    fn from_str(text: &str) -> Result<Self, NoTrace> {
        let mut parts = text.splitn(5, '-');
        let mut part = |digits| hex(parts.next().unwrap_or_default(), digits);
        let (version, id, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let is_more = parts.next().is_some();
        if version == 0xff || version == 0 && is_more || id == 0 || span == 0 {
            return Err(NoTrace);
        }
        let (span, flags) = (u64::try_from(span).map_err(|_| NoTrace)?, (flags & 0xff) as u8);
        Ok(Self { id, span, flags })
    }
}

fn hex(text: &str, digits: usize) -> Result<u128, NoTrace> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    match text.len() == digits && text.bytes().all(is_hex) {
        true => u128::from_str_radix(text, 16).map_err(|_| NoTrace),
        false => Err(NoTrace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_reads_as_it_is_written() {
        let trace: Trace = GIVEN.parse().unwrap();
        assert_eq!(trace.to_string(), GIVEN);
        let later = GIVEN.replacen("00", "cc", 1) + "-what-comes-later";
        assert_eq!(later.parse(), Ok(trace));
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        let bad = [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ];
        for text in bad {
            assert_eq!(text.parse::<Trace>(), Err(NoTrace), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_step_stays_in_its_trace_and_leads_what_is_done_for_it() {
        let given: Trace = GIVEN.parse().unwrap();
        let step = Trace::step(Some(given));
        assert_eq!((step.id(), step.flags), (given.id(), given.flags));
        assert_ne!(step.span, given.span);
        assert_ne!(Trace::step(None).id(), Trace::step(None).id());
        assert_eq!(lead(Some(step), async { current() }).await, Some(step));
        assert_eq!(current(), None);
    }
}
