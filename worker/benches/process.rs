//! A worker's process, which ends with whoever holds it.

use std::process::{Child, Command, Stdio};

pub const SEALING_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

pub struct Worker(pub Child);

impl Worker {
    /// On this database, and on topics of its own.
    pub fn start(arguments: &[&str], database: &str, kafka: &str, prefix: &str) -> std::io::Result<Self> {
        let mut worker = Command::new(env!("CARGO_BIN_EXE_orchestration-worker"));
        worker
            .args(arguments)
            .env("DATABASE_URL", database)
            .env("KAFKA_BOOTSTRAP_SERVERS", kafka)
            .env("ORCHESTRATION_KAFKA_PREFIX", prefix)
            .env("ORCHESTRATION_ALLOW_PRIVATE_NETWORKS", "true")
            .env("ORCHESTRATION_SEALING_KEYS", SEALING_KEY)
            .env("ORCHESTRATION_LOG", "warn")
            .stdout(Stdio::null());
        Ok(Self(worker.spawn()?))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
