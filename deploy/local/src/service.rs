//! One service on this machine: found running or started, once, however many processes ask at the same time.
//! What the service is and how it is prepared is said by its own module.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::process::{self, ProcessIdentity, Stop};
use crate::{paths, ports, progress};

/// How long one process waits for another that is preparing the same service (a first installation included).
const LOCK_TIMEOUT: Duration = Duration::from_secs(900);
/// How long a running service may be silent (it may be recovering) before it is started anew.
const UNRESPONSIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a service may take to end before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A service by its name, which also names its log, its lock and its folder under `.local/`.
#[derive(Clone, Debug)]
pub struct LocalService {
    /// For instance `postgres`, or `airflow-seeded`.
    pub name: String,
}

/// What is remembered of a service between our runs, the port also after it stopped.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// The process that leads its group.
    pub process: ProcessIdentity,
    /// Its loopback port.
    pub port: u16,
    /// How it is asked to end.
    pub stop: Stop,
}

/// A service about to be started.
pub struct Launch {
    /// The command, ready to run in the foreground.
    pub command: Command,
    /// The loopback port it will listen on.
    pub port: u16,
    /// How long it may take until it is healthy.
    pub timeout: Duration,
    /// How it is asked to end.
    pub stop: Stop,
}

impl LocalService {
    /// The service of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Every service that was ever started here, those that others rest on last.
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(paths::local_dir().join("run")).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> =
            files.filter_map(|file| Some(file.strip_suffix(".json")?.to_owned())).collect();
        names.sort_by_key(|name| (name.starts_with("postgres"), name.starts_with("kafka"), name.clone()));
        names.into_iter().map(Self::named).collect()
    }

    /// The service's log file.
    pub fn log(&self) -> PathBuf {
        paths::local_dir().join("log").join(format!("{}.log", self.name))
    }

    /// What is remembered of it, running or not.
    pub fn record(&self) -> Option<ServiceRecord> {
        serde_json::from_str(&std::fs::read_to_string(self.record_path()).ok()?).ok()
    }

    /// What is remembered of it, if it runs.
    pub fn running(&self) -> Option<ServiceRecord> {
        self.record().filter(|record| record.process.is_running())
    }

    /// The port it had before if that is free, else the first free one from `usual` on.
    pub fn choose_port(&self, usual: u16) -> Result<u16> {
        ports::choose(&self.name, self.record().map(|record| record.port), usual)
    }

    /// Makes sure that it runs and is healthy, and says where.
    ///
    /// `prepare` is asked for the command only when it has to be started, `healthy` with its port.
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
            progress::note(&format!("{} runs but does not answer: starting it anew", self.name));
        }
        self.end_process().await?;
        let launch = prepare().await?;
        self.start(launch, healthy).await
    }

    /// Stops it if it runs; says whether it did.
    pub async fn stop(&self) -> Result<bool> {
        let _lock = self.lock().await?;
        let was_running = self.running().is_some();
        self.end_process().await?;
        Ok(was_running)
    }

    /// Kills it at once, as a power cut would, and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        let _lock = self.lock().await?;
        match self.record() {
            Some(record) => record.process.stop(Stop::Kill, Duration::from_secs(10)).await,
            None => Ok(()),
        }
    }

    async fn lock(&self) -> Result<File> {
        lock(&self.name).await
    }

    async fn start(&self, mut launch: Launch, healthy: impl AsyncFn(u16) -> bool) -> Result<ServiceRecord> {
        let began = Instant::now();
        let log = paths::local_path(&format!("log/{}.log", self.name))?;
        // Left over when the record was deleted: it still holds the data folder.
        for orphan in ProcessIdentity::orphans_of(&launch.command) {
            orphan.stop(launch.stop, STOP_TIMEOUT).await?;
        }
        let mut record = self.spawn(&mut launch, &log)?;
        let mut well = wait_healthy(&record, launch.timeout, &healthy).await;
        if !well && !record.process.is_running() {
            // What a killed one held (memory, a lock) may be free only now.
            tokio::time::sleep(Duration::from_secs(1)).await;
            record = self.spawn(&mut launch, &log)?;
            well = wait_healthy(&record, launch.timeout, &healthy).await;
        }
        if well {
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
        // Written before it is healthy, so that it can be stopped even if we are interrupted now.
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

/// An exclusive lock by name among all processes of this workspace, held until it is dropped.
pub(crate) async fn lock(name: &str) -> Result<File> {
    let path = paths::local_path(&format!("run/{name}.lock"))?;
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    // Tried again and again rather than waited for: the holder may be another task on this very thread.
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
