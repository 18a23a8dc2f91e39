//! The worker and the API as processes of their own, to be configured, stopped and killed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use platform::kafka::KafkaConfig;
use tokio::sync::OnceCell;

use local::eventually;

const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// The settings of both programs.
#[derive(Clone)]
pub struct ProgramSettings {
    pub database_url: String,
    pub kafka: KafkaConfig,
    pub sealing_keys: String,
}

impl ProgramSettings {
    /// The API's program with these settings and arguments.
    pub async fn api(&self, arguments: &[&str]) -> Command {
        self.command("orchestration-api", arguments).await
    }

    /// The worker's program with these settings and arguments.
    pub async fn worker(&self, arguments: &[&str]) -> Command {
        self.command("orchestration-worker", arguments).await
    }

    async fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program_folder().await.join(name));
        command
            .args(arguments)
            .env("DATABASE_URL", &self.database_url)
            .env("KAFKA_BOOTSTRAP_SERVERS", &self.kafka.kafka_bootstrap_servers)
            .env("ORCHESTRATION_KAFKA_PREFIX", &self.kafka.kafka_prefix)
            .env("ORCHESTRATION_KAFKA_PARTITIONS", self.kafka.kafka_partitions.to_string())
            .env("ORCHESTRATION_SEALING_KEYS", &self.sealing_keys)
            .env("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true")
            .env("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0")
            .env("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0");
        command
    }
}

/// The folder with both binaries, which are built once per process.
async fn program_folder() -> &'static PathBuf {
    static FOLDER: OnceCell<PathBuf> = OnceCell::const_new();
    FOLDER.get_or_init(async || local::tested_binaries().await.unwrap()).await
}

/// Runs a command to its end without blocking the runtime.
pub async fn output_of(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Runs a command that must succeed, and returns its standard output. Its log goes to the test's log.
pub async fn stdout_of(mut command: Command) -> String {
    command.stderr(Stdio::inherit());
    let description = format!("{command:?}");
    let output = output_of(command).await;
    assert!(output.status.success(), "{description}");
    String::from_utf8(output.stdout).unwrap()
}

/// A running worker, killed when it is dropped.
pub struct WorkerProcess(Child);

impl WorkerProcess {
    /// Starts `run` with these further arguments, and does not wait until it is ready.
    pub async fn start(settings: &ProgramSettings, arguments: &[&str]) -> Self {
        let mut command = settings.worker(&["run", "--metrics-listen", "127.0.0.1:0"]).await;
        Self::spawn(command.args(arguments))
    }

    /// Starts any command of the worker. Its log goes to the test's own.
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap())
    }

    pub fn process(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The largest resident memory so far, in MiB; 0 when the process has ended.
    pub fn peak_memory(&self) -> u64 {
        memory_of(&self.0, "VmHWM:")
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        kill(&mut self.0);
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        kill(&mut self.0);
    }
}

/// A running API, killed when it is dropped.
pub struct ApiProcess {
    process: Child,
    pub url: String,
}

impl ApiProcess {
    /// Starts `serve` with these further arguments, and waits until it listens.
    pub async fn start(settings: &ProgramSettings, arguments: &[&str]) -> Self {
        let mut command = settings.api(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]).await;
        let mut process = command.args(arguments).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = tokio::task::spawn_blocking(move || {
            let address = log.find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                Some(line["address"].as_str()?.to_owned())
            });
            // The pipe is read to its end, since a full one would block the process.
            std::thread::spawn(move || log.for_each(|line| eprintln!("{line}")));
            address
        });
        let address = address.await.unwrap().expect("the API logs its address");
        Self { process, url: format!("http://{address}") }
    }

    /// Waits until the API serves reads.
    pub async fn wait_until_ready(&self) {
        let url = format!("{}/readyz", self.url);
        let is_ready = async || reqwest::get(&url).await.is_ok_and(|response| response.status() == 200);
        eventually("the API is ready", Duration::from_secs(60), is_ready).await;
    }

    pub fn process(&mut self) -> &mut Child {
        &mut self.process
    }

    /// Sends SIGKILL, and waits until the process is gone.
    pub fn kill(&mut self) {
        kill(&mut self.process);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
    }

    /// Sends SIGTERM, and returns how long the process took to end.
    pub async fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.terminate();
        while self.process.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < STOP_TIMEOUT, "the API does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        began.elapsed()
    }

    /// The value of a metric without labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// The resident memory in MiB.
    pub fn memory(&self) -> u64 {
        memory_of(&self.process, "VmRSS:")
    }

    /// The largest resident memory so far, in MiB.
    pub fn peak_memory(&self) -> u64 {
        memory_of(&self.process, "VmHWM:")
    }
}

impl Drop for ApiProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A size of a process's status, in MiB; 0 when the process has ended.
fn memory_of(process: &Child, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.map_or(0, |line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024)
}

fn kill(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}
