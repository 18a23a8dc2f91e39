//! The worker as a process of its own, to be killed.

use std::process::{Child, Command, Stdio};

use crate::stage::{SEALING_KEY, Stage};

/// A worker process on a stage.
pub struct Worker(Child);

impl Worker {
    pub fn start(stage: &Stage) -> Self {
        Self::start_with(stage, &[])
    }

    pub fn start_with(stage: &Stage, arguments: &[&str]) -> Self {
        let run = ["run", "--metrics-listen", "127.0.0.1:0"];
        let child = command(stage).args(run).args(arguments).stderr(Stdio::inherit()).spawn().unwrap();
        Self(child)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one of the worker's commands to its end and returns what it printed.
pub fn run_command(stage: &Stage, arguments: &[&str]) -> String {
    let output = command(stage).args(arguments).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// One of the worker's commands, with a stage's settings.
pub fn command(stage: &Stage) -> Command {
    let settings = &stage.args.settings;
    let mut command = Command::new(env!("CARGO_BIN_EXE_orchestration-worker"));
    command
        .env("DATABASE_URL", stage.database_url())
        .env("KAFKA_BOOTSTRAP_SERVERS", &settings.kafka.kafka_bootstrap_servers)
        .env("ORCHESTRATION_KAFKA_PREFIX", &settings.kafka.kafka_prefix)
        .env("ORCHESTRATION_KAFKA_PARTITIONS", settings.kafka.kafka_partitions.to_string())
        .env("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true")
        .env("ORCHESTRATION_SEALING_KEYS", SEALING_KEY);
    command
}
