//! W3C trace context: which request or sync caused a message, as carried by the `traceparent` header of HTTP
//! and Kafka. `platform::trace` holds the trace context of the current task.

use std::fmt;
use std::str::FromStr;

/// The name of the header, in HTTP and in Kafka.
pub const TRACEPARENT: &str = "traceparent";

/// One span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Shared by all spans of the trace; never zero.
    pub trace_id: u128,
    /// This span; never zero.
    pub span_id: u64,
    /// Bit 0: the trace is sampled.
    pub flags: u8,
}

/// The header's value is not a valid `traceparent`.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidTraceparent;

impl TraceContext {
    /// A new span in the parent's trace, or in a new trace if there is no parent.
    pub fn child(parent: Option<Self>) -> Self {
        // Zero means "none" in both ids.
        let span_id = rand::random_range(1..=u64::MAX);
        match parent {
            Some(parent) => Self { span_id, ..parent },
            None => Self { trace_id: rand::random_range(1..=u128::MAX), span_id, flags: 1 },
        }
    }

    /// The trace id as 32 hexadecimal digits, the form used in log lines.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    /// Accepts further fields after the flags where the version is above 0.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let mut parts = text.splitn(5, '-');
        let mut part = |digits| hex(parts.next().unwrap_or_default(), digits);
        let (version, id, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        let has_further_fields = parts.next().is_some();
        if version == 0xff || version == 0 && has_further_fields || id == 0 || span == 0 {
            return Err(InvalidTraceparent);
        }
        let (span_id, flags) = (u64::try_from(span).map_err(|_| InvalidTraceparent)?, (flags & 0xff) as u8);
        Ok(Self { trace_id: id, span_id, flags })
    }
}

fn hex(text: &str, digits: usize) -> Result<u128, InvalidTraceparent> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(is_hex) {
        return Err(InvalidTraceparent);
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidTraceparent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT_VALUE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_round_trips() {
        let trace: TraceContext = TRACEPARENT_VALUE.parse().unwrap();
        assert_eq!(trace.to_string(), TRACEPARENT_VALUE);
        let later_version = TRACEPARENT_VALUE.replacen("00", "cc", 1) + "-further-field";
        assert_eq!(later_version.parse(), Ok(trace));
    }

    #[test]
    fn an_invalid_traceparent_is_rejected() {
        let invalid = [
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
        for text in invalid {
            assert_eq!(text.parse::<TraceContext>(), Err(InvalidTraceparent), "{text:?}");
        }
    }

    #[test]
    fn a_child_span_stays_in_its_trace() {
        let parent: TraceContext = TRACEPARENT_VALUE.parse().unwrap();
        let child = TraceContext::child(Some(parent));
        assert_eq!((child.trace_id, child.flags), (parent.trace_id, parent.flags));
        assert_ne!(child.span_id, parent.span_id);
        assert_ne!(TraceContext::child(None).trace_id, TraceContext::child(None).trace_id);
    }
}
