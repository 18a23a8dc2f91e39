//! Since when PostgreSQL owes an answer, as far as the bytes of a connection show it: a statement has been
//! sent, or an answer has begun and not ended. What is encrypted shows only the ends of its records.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const HEADER_BYTES: usize = 5;
/// How often within the timeout an overdue answer is looked for.
const CHECKS_PER_TIMEOUT: u32 = 8;

/// Messages after which the client has its turn: ready for a query, and the two that begin a copy.
const ENDS_OF_ANSWERS: &[u8] = b"ZGW";
/// Messages that PostgreSQL sends at any time: notices, notifications, changed settings.
const ASYNCHRONOUS: &[u8] = b"NAS";

#[derive(Default)]
pub(super) struct AnswerClock(Mutex<Answer>);

#[derive(Default)]
struct Answer {
    /// When the last byte passed, in either direction; none when no answer is due.
    due_since: Option<Instant>,
    frames: Frames,
}

impl AnswerClock {
    /// The client has sent something: an answer is due from now on.
    pub(super) fn start(&self) {
        let mut answer = self.lock();
        answer.due_since = Some(Instant::now());
        answer.frames.last_type = None;
    }

    /// The server has sent these bytes: the answer is complete, or its rest is due from now on.
    pub(super) fn read(&self, bytes: &[u8]) {
        let mut answer = self.lock();
        answer.frames.read(bytes);
        answer.due_since = (!answer.frames.is_answer_complete()).then(Instant::now);
    }

    /// Waits until an answer was due for longer than the timeout, and returns for how long. Without a timeout
    /// it never returns.
    pub(super) async fn overdue(&self, timeout: Option<Duration>) -> Duration {
        let Some(timeout) = timeout else { return std::future::pending().await };
        loop {
            tokio::time::sleep(timeout / CHECKS_PER_TIMEOUT).await;
            let due_for = self.lock().due_since.map(|since| since.elapsed());
            if let Some(due_for) = due_for.filter(|due_for| *due_for >= timeout) {
                return due_for;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Framing {
    /// No byte has arrived yet: the first one may answer the request for TLS.
    #[default]
    Unknown,
    /// Messages: a type, and a length that counts itself.
    Plain,
    /// TLS records: a type, a version, and the length of the rest.
    Tls,
}

/// Finds the ends of messages in the bytes of the server.
#[derive(Default)]
struct Frames {
    framing: Framing,
    header: [u8; HEADER_BYTES],
    header_length: usize,
    /// How many bytes the current message still has after its header.
    body: usize,
    /// The type of the last message since the client sent something.
    last_type: Option<u8>,
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8]) {
        if self.framing == Framing::Unknown {
            let (framing, skipped) = match bytes.first() {
                None => return,
                Some(b'S') => (Framing::Tls, 1),
                Some(b'N') => (Framing::Plain, 1),
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

    fn is_answer_complete(&self) -> bool {
        let is_between_messages = self.header_length == 0 && self.body == 0;
        let is_last = match self.framing {
            Framing::Unknown | Framing::Tls => true,
            Framing::Plain => {
                self.last_type.is_none_or(|message_type| ENDS_OF_ANSWERS.contains(&message_type))
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

    fn is_due(clock: &AnswerClock) -> bool {
        clock.lock().due_since.is_some()
    }

    #[test]
    fn an_answer_is_due_from_the_statement_to_the_end_of_the_last_message() {
        let clock = AnswerClock::default();
        assert!(!is_due(&clock));
        clock.start();
        clock.read(b"R\0\0\0\x08\0\0\0\0");
        assert!(is_due(&clock), "the server goes on after it has accepted the password");
        clock.read(READY);
        assert!(!is_due(&clock));
        clock.start();
        assert!(is_due(&clock));
        for byte in [ROW, READY].concat() {
            assert!(is_due(&clock));
            clock.read(&[byte]);
        }
        assert!(!is_due(&clock));
        clock.read(NOTICE);
        assert!(!is_due(&clock), "a notice needs no statement");
        clock.start();
        clock.read(NOTICE);
        assert!(is_due(&clock), "a notice is no answer");
    }

    #[test]
    fn the_answer_to_the_request_for_tls_decides_how_the_rest_is_read() {
        let plain = AnswerClock::default();
        plain.start();
        plain.read(b"N");
        assert!(!is_due(&plain));
        plain.start();
        plain.read(ROW);
        assert!(is_due(&plain));
        let encrypted = AnswerClock::default();
        encrypted.start();
        encrypted.read(b"S");
        encrypted.start();
        encrypted.read(b"\x17\x03\x03\0\x02a");
        assert!(is_due(&encrypted), "half a record");
        encrypted.read(b"b");
        assert!(!is_due(&encrypted));
    }
}
