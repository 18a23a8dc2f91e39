//! Detached processes, which outlive the program that starts them. Each runs in its own process group, is
//! identified by its PID and start time, and is stopped together with its descendants. What a process is for
//! is left to others.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A log longer than this is rotated when its service starts. One rotated file is kept.
const LOG_LIMIT_BYTES: u64 = 16 << 20;
/// Maximum wait until the parent of an ended process has reaped it.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);

/// One process. The start time distinguishes it from a later process with the same PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// The PID, which is also the ID of its process group.
    pub pid: u32,
    /// The start time, in clock ticks since boot.
    pub started: u64,
}

/// How a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// SIGTERM to the group leader alone, which stops its children itself.
    Leader,
    /// SIGINT to the group leader alone. PostgreSQL then does a fast shutdown, which ends sessions without
    /// data loss.
    Fast,
    /// SIGTERM to every process.
    Group,
    /// SIGKILL to every process, which simulates a power failure.
    Kill,
}

/// Processes that are suspended, and go on when this is dropped.
#[must_use]
pub struct SuspendedProcesses(Vec<ProcessIdentity>);

impl SuspendedProcesses {
    /// Returns the number of processes.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Drop for SuspendedProcesses {
    fn drop(&mut self) {
        self.0.iter().for_each(|process| process.send(Signal::CONT));
    }
}

/// Fields of `/proc/<pid>/stat`.
struct Stat {
    state: char,
    parent: u32,
    group: u32,
    started: u64,
}

impl ProcessIdentity {
    /// Starts a command in its own process group. Its output is appended to `log`; its input is empty.
    pub fn spawn(command: &mut Command, log: &Path) -> Result<Self> {
        let output = open_log(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        let identity = Self::of(child.id()).with_context(|| format!("{program} ended at once"))?;
        // The child is reaped as soon as it ends, because PostgreSQL takes a zombie for a running server.
        std::thread::spawn(move || child.wait());
        Ok(identity)
    }

    /// Returns the process that has this PID now.
    pub fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// Finds running group leaders that were started by the same command in the same folder.
    pub fn orphans_of(command: &Command) -> Vec<Self> {
        let Some(folder) = command.get_current_dir() else { return Vec::new() };
        let words = std::iter::once(command.get_program()).chain(command.get_args()).take(3);
        let start: Vec<u8> = words.flat_map(|word| [word.as_encoded_bytes(), &[0]].concat()).collect();
        let is_one = |pid: &u32| {
            let folder_of = std::fs::read_link(format!("/proc/{pid}/cwd"));
            let words_of = std::fs::read(format!("/proc/{pid}/cmdline"));
            folder_of.is_ok_and(|it| it.starts_with(folder))
                && words_of.is_ok_and(|it| it.starts_with(&start))
        };
        let leaders =
            all().filter(|pid| stat(*pid).is_some_and(|stat| stat.group == *pid && stat.state != 'Z'));
        leaders.filter(is_one).filter_map(Self::of).collect()
    }

    /// Returns whether this process still runs. A zombie does not count as running.
    pub fn is_running(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && stat.state != 'Z')
    }

    /// Stops the process and its descendants, and kills those that still run after `timeout`.
    pub async fn stop(&self, how: Stop, timeout: Duration) -> Result<()> {
        let family = self.family();
        for (how, timeout) in [(how, timeout), (Stop::Kill, Duration::from_secs(10))] {
            for member in &family {
                member.signal(how, member == self);
            }
            if within(timeout, || !family.iter().any(Self::is_running)).await {
                // The PID stays in use until the parent, which may be a slow init, has reaped the process.
                within(REAP_TIMEOUT, || Self::of(self.pid) != Some(*self)).await;
                return Ok(());
            }
        }
        bail!("process {} does not end, not even when killed", self.pid)
    }

    /// Suspends the process and its descendants, or those whose command line contains a word.
    pub fn suspend(&self, word: &str) -> SuspendedProcesses {
        let mut family = self.family();
        family.retain(|member| {
            let line = std::fs::read(format!("/proc/{}/cmdline", member.pid)).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(word)
        });
        family.iter().for_each(|member| member.send(Signal::STOP));
        SuspendedProcesses(family)
    }

    /// Sends the signal that stops a process in this way, unless it has ended.
    fn signal(&self, how: Stop, is_leader: bool) {
        let signal = match how {
            Stop::Leader if is_leader => Signal::TERM,
            Stop::Fast if is_leader => Signal::INT,
            Stop::Leader | Stop::Fast => return,
            Stop::Group => Signal::TERM,
            Stop::Kill => Signal::KILL,
        };
        self.send(signal);
    }

    /// Sends a signal, unless the process has ended.
    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_running()) {
            // The process may end by itself between the check and the signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Returns the running processes among the leader, its group and their descendants (PostgreSQL's children
    /// have their own groups). The kernel does not reuse a group ID while a process of the group runs, so
    /// another process with the leader's PID means that the whole group has ended.
    fn family(&self) -> Vec<Self> {
        if Self::of(self.pid).is_some_and(|now| now != *self) {
            return Vec::new();
        }
        let living: Vec<(u32, Stat)> = all().filter_map(|pid| Some((pid, stat(pid)?))).collect();
        let mut family: Vec<u32> = Vec::new();
        loop {
            let joins = |(pid, stat): &&(u32, Stat)| {
                stat.state != 'Z'
                    && !family.contains(pid)
                    && (stat.group == self.pid || family.contains(&stat.parent))
            };
            let more: Vec<u32> = living.iter().filter(joins).map(|(pid, _)| *pid).collect();
            if more.is_empty() {
                let started =
                    |pid: &u32| living.iter().find(|(other, _)| other == pid).map(|(_, stat)| stat.started);
                return family
                    .iter()
                    .filter_map(|pid| Some(Self { pid: *pid, started: started(pid)? }))
                    .collect();
            }
            family.extend(more);
        }
    }
}

/// Waits for a condition. Returns false after the timeout.
async fn within(timeout: Duration, condition: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Returns the last lines of a log.
pub(crate) fn log_tail(log: &Path, lines: usize) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn open_log(log: &Path) -> Result<File> {
    if std::fs::metadata(log).is_ok_and(|data| data.len() > LOG_LIMIT_BYTES) {
        std::fs::rename(log, log.with_added_extension("1"))?;
    }
    let file = File::options().create(true).append(true).open(log);
    file.with_context(|| format!("cannot write the log {}", log.display()))
}

/// Returns the PIDs of all processes.
fn all() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name in parentheses may contain spaces and parentheses, so fields are counted from the last
/// parenthesis.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_parentheses_in_the_name_are_parsed() {
        let line = "4242 (a) (b c) S 1 4200 4242 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        let stat = parse_stat(line).unwrap();
        assert_eq!((stat.state, stat.parent, stat.group, stat.started), ('S', 1, 4200, 987_654));
        assert!(parse_stat("4242 (cut").is_none());
    }

    #[test]
    fn a_process_with_the_same_pid_and_another_start_time_is_different() {
        let me = ProcessIdentity::of(std::process::id()).unwrap();
        assert!(me.is_running());
        let stranger = ProcessIdentity { started: me.started + 1, ..me };
        assert!(!stranger.is_running());
        assert!(stranger.family().is_empty());
    }

    #[tokio::test]
    async fn stopping_a_process_ends_its_whole_group() {
        let log = std::env::temp_dir().join(format!("orchestration-process-{}.log", std::process::id()));
        // The comment makes the command unique, so that a leftover of an earlier test run does not match.
        let script = format!("sleep 300 & echo up; wait # {}", std::process::id());
        let same = || {
            let mut command = Command::new("sh");
            command.args(["-c", &script]).current_dir(std::env::temp_dir());
            command
        };
        let process = ProcessIdentity::spawn(&mut same(), &log).unwrap();
        while !log_tail(&log, 1).contains("up") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(process.family().len() >= 2);
        assert_eq!(ProcessIdentity::orphans_of(&same()), [process]);
        // Other users may run a shell in these folders.
        let mut other = Command::new("bash");
        for other in [same().current_dir("/proc"), other.current_dir(std::env::temp_dir())] {
            assert!(!ProcessIdentity::orphans_of(other).contains(&process));
        }
        process.stop(Stop::Leader, Duration::from_millis(200)).await.unwrap();
        assert!(!process.is_running());
        assert!(process.family().is_empty());
        std::fs::remove_file(log).unwrap();
    }
}
