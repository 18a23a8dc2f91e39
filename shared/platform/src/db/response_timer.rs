//! Measures how long a response of PostgreSQL has been outstanding, from the bytes of a connection: from the
//! statement to the end of the response. On an encrypted connection only the ends of TLS records are visible.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const HEADER_BYTES: usize = 5;
/// The number of checks for an overdue response within the timeout.
const CHECKS_PER_TIMEOUT: u32 = 8;

/// The types of the messages that end a response: ready for a query, the two that begin a copy, and the byte
/// that refuses TLS. As the type of a message that byte is a notice, which ends nothing.
const ENDS_OF_RESPONSES: &[u8] = b"ZGWN";
/// The types of the messages that PostgreSQL sends at any time: notices, notifications, changed settings.
const ASYNCHRONOUS: &[u8] = b"NAS";

#[derive(Default)]
pub(super) struct ResponseTimer(Mutex<ResponseState>);

#[derive(Default)]
struct ResponseState {
    /// The time of the last byte in either direction; none when no response is outstanding.
    outstanding_since: Option<Instant>,
    frames: Frames,
}

impl ResponseTimer {
    /// Starts the timer: the client has sent bytes.
    pub(super) fn start(&self) {
        let mut state = self.lock();
        state.outstanding_since = Some(Instant::now());
        state.frames.last_type = None;
    }

    /// Reads bytes of the server: stops the timer at the end of a response, and restarts it otherwise.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.frames.read(bytes);
        let now = (!state.frames.is_response_complete()).then(Instant::now);
        state.outstanding_since = state.outstanding_since.and(now);
    }

    /// Waits until a response has been outstanding for the timeout, and returns for how long. Without a
    /// timeout it never returns.
    pub(super) async fn wait_until_overdue(&self, timeout: Option<Duration>) -> Duration {
        let Some(timeout) = timeout else { return std::future::pending().await };
        loop {
            tokio::time::sleep(timeout / CHECKS_PER_TIMEOUT).await;
            let elapsed = self.lock().outstanding_since.map(|since| since.elapsed());
            if let Some(elapsed) = elapsed.filter(|elapsed| *elapsed >= timeout) {
                return elapsed;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, ResponseState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Framing {
    /// No byte has arrived yet: the first one may be the response to the request for TLS.
    #[default]
    Unknown,
    /// Messages: a type, and a length that includes the length field.
    Plain,
    /// TLS records: a type, a version, and the length of the fragment.
    Tls,
}

/// Finds the ends of messages in the bytes of the server.
#[derive(Default)]
struct Frames {
    framing: Framing,
    header: [u8; HEADER_BYTES],
    header_length: usize,
    /// The number of unread bytes of the current message after its header.
    body: usize,
    /// The type of the last message since the client sent bytes.
    last_type: Option<u8>,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8]) {
        if self.framing == Framing::Unknown {
            let (framing, skipped) = match bytes.first() {
                None => return,
                Some(b'S') => (Framing::Tls, 1),
                Some(b'N') => {
                    self.last_type = Some(b'N');
                    (Framing::Plain, 1)
                }
                Some(_) => (Framing::Plain, 0),
            };
            (self.framing, bytes) = (framing, &bytes[skipped..]);
        }
        while !bytes.is_empty() {
            let wanted = if self.body > 0 { self.body } else { HEADER_BYTES - self.header_length };
            let (read, rest) = bytes.split_at(wanted.min(bytes.len()));
            if self.body > 0 {
                self.body -= read.len();
            } else {
                self.read_header(read);
            }
            bytes = rest;
        }
    }

    fn read_header(&mut self, bytes: &[u8]) {
        let end = self.header_length + bytes.len();
        self.header[self.header_length..end].copy_from_slice(bytes);
        self.header_length = end % HEADER_BYTES;
        if end < HEADER_BYTES {
            return;
        }
        let [message_type, a, b, c, d] = self.header;
        self.body = match self.framing {
            Framing::Tls => usize::from(u16::from_be_bytes([c, d])),
            _ => (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(HEADER_BYTES - 1),
        };
        if self.framing == Framing::Tls || !ASYNCHRONOUS.contains(&message_type) {
            self.last_type = Some(message_type);
        }
    }

    fn is_response_complete(&self) -> bool {
        let is_between_messages = self.header_length == 0 && self.body == 0;
        let is_last = match self.framing {
            Framing::Unknown | Framing::Tls => true,
            Framing::Plain => {
                self.last_type.is_some_and(|message_type| ENDS_OF_RESPONSES.contains(&message_type))
            }
        };
        is_between_messages && is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";
    const ROW: &[u8] = b"D\0\0\0\x06ab";
    const NOTICE: &[u8] = b"N\0\0\0\x05\0";

    fn is_outstanding(timer: &ResponseTimer) -> bool {
        timer.lock().outstanding_since.is_some()
    }

    #[test]
    fn a_response_is_outstanding_from_the_statement_to_the_end_of_its_last_message() {
        let timer = ResponseTimer::default();
        assert!(!is_outstanding(&timer));
        timer.start();
        timer.read(b"R\0\0\0\x08\0\0\0\0");
        assert!(is_outstanding(&timer), "the response continues after the password was accepted");
        timer.read(READY);
        assert!(!is_outstanding(&timer));
        timer.start();
        assert!(is_outstanding(&timer));
        for byte in [ROW, READY].concat() {
            assert!(is_outstanding(&timer));
            timer.read(&[byte]);
        }
        assert!(!is_outstanding(&timer));
        timer.read(NOTICE);
        assert!(!is_outstanding(&timer), "a notice needs no statement");
        timer.start();
        timer.read(NOTICE);
        assert!(is_outstanding(&timer), "a notice is no response");
    }

    #[test]
    fn the_response_to_the_request_for_tls_selects_the_framing() {
        let plain = ResponseTimer::default();
        plain.start();
        plain.read(b"N");
        assert!(!is_outstanding(&plain));
        plain.start();
        plain.read(ROW);
        assert!(is_outstanding(&plain));
        let encrypted = ResponseTimer::default();
        encrypted.start();
        encrypted.read(b"S");
        encrypted.start();
        encrypted.read(b"\x17\x03\x03\0\x02a");
        assert!(is_outstanding(&encrypted), "half a record");
        encrypted.read(b"b");
        assert!(!is_outstanding(&encrypted));
    }
}
