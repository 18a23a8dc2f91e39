//! A sample of log lines: some a minute, with the number of those between them.

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);
const MAX_LINES: u64 = 10;

/// Which lines of one kind are logged.
pub(crate) struct LogSample {
    /// When the first line of this interval was admitted.
    began: Option<Instant>,
    lines: u64,
    omitted: u64,
}

impl LogSample {
    pub(crate) const fn new() -> Self {
        Self { began: None, lines: 0, omitted: 0 }
    }

    /// Returns how many lines were omitted before this one, or none if this one is to be omitted.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= INTERVAL) {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines == MAX_LINES {
            self.omitted += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_of_a_minute_are_admitted_and_the_others_counted() {
        let (start, mut sample) = (Instant::now(), LogSample::new());
        let admitted: Vec<_> = (0..12).map(|_| sample.admit(start)).collect();
        assert_eq!(admitted, [vec![Some(0); 10], vec![None; 2]].concat());
        assert_eq!(sample.admit(start + INTERVAL), Some(2));
        assert_eq!(sample.admit(start + INTERVAL), Some(0));
    }
}
