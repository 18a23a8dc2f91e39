//! Progress output: numbered steps with the seconds since the start, and notes below them. On a terminal the
//! current step shows a spinner; otherwise only lines are printed.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Prints a note below the current step.
pub(crate) fn note(text: &str) {
    line(&format!("        {text}"));
}

/// Prints a result to standard output. If the reader has closed the pipe (as `head` does), the program exits
/// with success.
pub fn print(text: &str) {
    let written = writeln!(std::io::stdout(), "{text}");
    if written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        #[expect(
            clippy::disallowed_methods,
            reason = "as `head` closes the pipe, no reader is left for an error"
        )]
        std::process::exit(0);
    }
}

/// A sequence of numbered steps.
pub(crate) struct Steps {
    began: Instant,
    total: usize,
    done: usize,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// Starts a sequence of `total` steps.
    pub(crate) fn new(total: usize) -> Self {
        Self { began: Instant::now(), total, done: 0, bar: None }
    }

    /// Ends the current step and begins the next.
    pub(crate) fn next(&mut self, text: &str) {
        self.finish();
        self.done += 1;
        let elapsed = self.began.elapsed().as_secs();
        line(&format!("[{}/{}] {elapsed:>3} s  {text}", self.done, self.total));
        if std::io::stderr().is_terminal() {
            let bar = BARS.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("        {spinner} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            self.bar = Some(bar);
        }
    }

    /// Hides the spinner of this step, for a program that shows its own progress.
    pub(crate) fn pause(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Ends the last step. Returns the seconds since the start.
    pub(crate) fn finish(&mut self) -> u64 {
        self.pause();
        self.began.elapsed().as_secs()
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.finish();
    }
}

fn line(text: &str) {
    if std::io::stderr().is_terminal() {
        // The line appears above the spinner. A closed terminal is not an error.
        let _ = BARS.println(text);
    } else {
        eprintln!("{text}");
    }
}
