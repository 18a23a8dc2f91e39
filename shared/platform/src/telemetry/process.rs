//! Metrics of the process from `/proc`, with the names that Prometheus clients use.

use std::fs::{read_dir, read_to_string};

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Renders Prometheus text. A value that the system does not report is left out.
pub(super) fn metrics() -> String {
    let stat = read_to_string("/proc/self/stat").unwrap_or_default();
    let system = read_to_string("/proc/stat").unwrap_or_default();
    let open = read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    let limit = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
    let ticks = clock_ticks_per_second() as f64;
    let seconds = |field| Some(number(&stat, field)? / ticks);
    let cpu = seconds(UTIME).zip(seconds(STIME)).map(|(user, system)| user + system);
    let started = booted(&system).zip(seconds(STARTTIME)).map(|(booted, after)| booted + after);
    let resident = number(&stat, RSS).map(|pages| pages * page_size() as f64);
    [
        text("process_cpu_seconds_total", "counter", "User and system CPU time spent in seconds", cpu),
        text("process_start_time_seconds", "gauge", "Start time since the epoch in seconds", started),
        text("process_resident_memory_bytes", "gauge", "Resident memory size in bytes", resident),
        text("process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes", number(&stat, VSIZE)),
        text("process_threads", "gauge", "Threads", number(&stat, THREADS)),
        text("process_open_fds", "gauge", "Open file descriptors", open),
        text("process_max_fds", "gauge", "File descriptors that may be open", limit),
    ]
    .concat()
}

// Field indices in /proc/self/stat, counted from the field after the process name in parentheses.
const UTIME: usize = 11;
const STIME: usize = 12;
const THREADS: usize = 17;
const STARTTIME: usize = 19;
const VSIZE: usize = 20;
const RSS: usize = 21;

/// The process name may contain spaces and parentheses, so fields are counted from the last parenthesis.
fn number(stat: &str, field: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

fn booted(system: &str) -> Option<f64> {
    system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

fn text(name: &str, kind: &str, help: &str, value: Option<f64>) -> String {
    let render = |value| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    value.map(render).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_metrics_are_plausible() {
        let text = metrics();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} ")));
            line.and_then(|line| line.split_once(' ')?.1.parse().ok())
                .unwrap_or_else(|| panic!("no {name} in {text}"))
        };
        let now = chrono::Utc::now().timestamp() as f64;
        let age = now - value("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        let before = value("process_cpu_seconds_total");
        let start = std::time::Instant::now();
        while start.elapsed().as_millis() < 100
            || metrics().contains(&format!("process_cpu_seconds_total {before}\n"))
        {}
    }

    #[test]
    fn a_process_name_with_parentheses_shifts_no_field() {
        assert_eq!(number("7 (a) 1 2) S 1 2 3", 3), Some(3.0));
    }
}
