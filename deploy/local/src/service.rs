//! A service on this machine: it is found running or started, and only once, even when many processes need it
//! at the same time. The command of a service and its preparation are in the service's own module.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::process::{self, ProcessIdentity, Stop, SuspendedProcesses};
use crate::{paths, ports, progress};

/// Maximum wait for another process that prepares the same service, which may include a first installation.
const LOCK_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a running service may be unhealthy before it is restarted. It may be recovering.
const UNRESPONSIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a service may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A service. Its name is also the name of its log, its lock and its folder under `.local/`.
#[derive(Clone, Debug)]
pub struct LocalService {
    /// For instance `postgres`, or `airflow-seeded`.
    pub name: String,
}

/// The stored state of a service. The port is kept after the service has stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// The leader of its process group.
    pub process: ProcessIdentity,
    /// Its loopback port.
    pub port: u16,
    /// How it is stopped.
    pub stop: Stop,
}

/// How to start a service.
pub struct Launch {
    /// The command, which runs in the foreground.
    pub command: Command,
    /// The loopback port on which it will listen.
    pub port: u16,
    /// Maximum time until it is healthy.
    pub timeout: Duration,
    /// How it is stopped.
    pub stop: Stop,
}

impl LocalService {
    /// Returns the service of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Returns every service that was ever started here. PostgreSQL and Kafka come last, because others
    /// depend on them.
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(paths::local_dir().join("run")).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            files.filter_map(|file| Some(file.strip_suffix(".json")?.to_owned())).collect();
        names.sort_by_key(|name| (name.starts_with("postgres"), name.starts_with("kafka"), name.clone()));
        names.into_iter().map(Self::named).collect()
    }

    /// Returns the path of the service's log file.
    pub fn log(&self) -> PathBuf {
        paths::local_dir().join("log").join(format!("{}.log", self.name))
    }

    /// Returns the stored state, whether the service runs or not.
    pub fn record(&self) -> Option<ServiceRecord> {
        serde_json::from_str(&std::fs::read_to_string(self.record_path()).ok()?).ok()
    }

    /// Returns the stored state if the service runs.
    pub fn running(&self) -> Option<ServiceRecord> {
        self.record().filter(|record| record.process.is_running())
    }

    /// Chooses a port: the previous one if it is free, else the first free port from `default` on.
    pub fn choose_port(&self, default: u16) -> Result<u16> {
        ports::choose(&self.name, self.record().map(|record| record.port), default)
    }

    /// Makes sure that the service runs and is healthy. Returns its stored state.
    ///
    /// `prepare` is called only if the service must be started. `healthy` is called with its port.
    pub async fn ensure(
        &self,
        prepare: impl AsyncFnOnce() -> Result<Launch>,
        healthy: impl AsyncFn(u16) -> bool,
    ) -> Result<ServiceRecord> {
        if let Some(record) = self.running()
            && healthy(record.port).await
        {
            return Ok(record);
        }
        let _lock = self.lock().await?;
        if let Some(record) = self.running() {
            if wait_healthy(&record, UNRESPONSIVE_TIMEOUT, &healthy).await {
                return Ok(record);
            }
            progress::note(&format!("{} runs but does not answer: restarting it", self.name));
        }
        self.end_process().await?;
        let launch = prepare().await?;
        self.start(launch, healthy).await
    }

    /// Stops the service. Returns whether it was running.
    pub async fn stop(&self) -> Result<bool> {
        let _lock = self.lock().await?;
        let was_running = self.running().is_some();
        self.end_process().await?;
        Ok(was_running)
    }

    /// Kills the service, which simulates a power failure, and waits until it has ended.
    pub async fn kill(&self) -> Result<()> {
        let _lock = self.lock().await?;
        match self.record() {
            Some(record) => record.process.stop(Stop::Kill, Duration::from_secs(10)).await,
            None => Ok(()),
        }
    }

    /// Suspends the processes of the service whose command line contains a word; all with an empty one. They
    /// go on when the result is dropped.
    pub fn suspend(&self, word: &str) -> Result<SuspendedProcesses> {
        let record = self.running().with_context(|| format!("{} does not run", self.name))?;
        let suspended = record.process.suspend(word);
        ensure!(suspended.count() > 0, "{} has no process {word:?}", self.name);
        Ok(suspended)
    }

    async fn lock(&self) -> Result<File> {
        lock(&self.name).await
    }

    async fn start(&self, mut launch: Launch, healthy: impl AsyncFn(u16) -> bool) -> Result<ServiceRecord> {
        let began = Instant::now();
        let log = paths::local_path(&format!("log/{}.log", self.name))?;
        // When the stored state was deleted, a process may be left over that holds the data folder.
        for orphan in ProcessIdentity::orphans_of(&launch.command) {
            orphan.stop(launch.stop, STOP_TIMEOUT).await?;
        }
        let mut record = self.spawn(&mut launch, &log)?;
        let mut is_healthy = wait_healthy(&record, launch.timeout, &healthy).await;
        if !is_healthy && !record.process.is_running() {
            // Resources of a killed process (memory, a lock) may be released with a delay, so it is tried
            // once more.
            tokio::time::sleep(Duration::from_secs(1)).await;
            record = self.spawn(&mut launch, &log)?;
            is_healthy = wait_healthy(&record, launch.timeout, &healthy).await;
        }
        if is_healthy {
            let seconds = began.elapsed().as_secs_f64();
            progress::note(&format!("{} answers on port {} after {seconds:.1} s", self.name, record.port));
            return Ok(record);
        }
        let end = if record.process.is_running() {
            format!("did not answer within {} s", launch.timeout.as_secs())
        } else {
            "ended while it started".to_owned()
        };
        self.end_process().await?;
        bail!("{} {end}; its log {} ends with:\n{}", self.name, log.display(), process::log_tail(&log, 10))
    }

    fn spawn(&self, launch: &mut Launch, log: &Path) -> Result<ServiceRecord> {
        let process = ProcessIdentity::spawn(&mut launch.command, log)?;
        let record = ServiceRecord { process, port: launch.port, stop: launch.stop };
        // The state is stored before the service is healthy, so that it can be stopped after an interruption.
        paths::write_file(&self.record_path(), &serde_json::to_string(&record)?, 0o644)?;
        Ok(record)
    }

    async fn end_process(&self) -> Result<()> {
        match self.record() {
            Some(record) => record.process.stop(record.stop, STOP_TIMEOUT).await,
            None => Ok(()),
        }
    }

    fn record_path(&self) -> PathBuf {
        paths::local_dir().join("run").join(format!("{}.json", self.name))
    }
}

/// Acquires an exclusive lock among all processes of this workspace. It is released when the file is dropped.
pub(crate) async fn lock(name: &str) -> Result<File> {
    let path = paths::local_path(&format!("run/{name}.lock"))?;
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    // A blocking wait could deadlock, because the holder may be another task on this thread.
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            Err(error) => {
                return Err(error).with_context(|| format!("another process holds {}", path.display()));
            }
        }
    }
}

async fn wait_healthy(
    record: &ServiceRecord,
    timeout: Duration,
    healthy: &impl AsyncFn(u16) -> bool,
) -> bool {
    let deadline = Instant::now() + timeout;
    while record.process.is_running() && Instant::now() < deadline {
        if healthy(record.port).await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    false
}
