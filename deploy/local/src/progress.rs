//! What a person sees while something takes its time: numbered steps with the seconds since the start, and
//! notes under them; lines only when nobody watches on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Says something that goes on below the current step.
pub(crate) fn note(text: &str) {
    line(&format!("        {text}"));
}

/// Prints a result to standard output. A reader who went away (as `head` does) ends the program without a complaint.
pub fn print(text: &str) {
    let written = writeln!(std::io::stdout(), "{text}");
    if written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// A row of steps, counted and timed.
pub(crate) struct Steps {
    began: Instant,
    total: usize,
    done: usize,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// So many steps from now.
    pub(crate) fn new(total: usize) -> Self {
        Self { began: Instant::now(), total, done: 0, bar: None }
    }

    /// Ends the step before and begins the next.
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

    /// Stops turning during this step, for a program that shows its own progress.
    pub(crate) fn pause(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Ends the last step; returns the seconds since the first.
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
        // Above the spinner, if one turns; a terminal that went away is no reason to fail.
        let _ = BARS.println(text);
    } else {
        eprintln!("{text}");
    }
}
