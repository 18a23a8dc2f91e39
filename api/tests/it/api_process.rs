//! The API as a process of its own, on a stage: to be stopped, killed and started again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::stage::Stage;
use crate::world::sealing_keys;

pub struct Api {
    process: Child,
    pub url: String,
}

impl Api {
    /// Starts it with these arguments besides the usual ones, and waits until it answers.
    pub async fn start(stage: &Stage, arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_orchestration-api"))
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(arguments)
            .env("DATABASE_URL", &stage.world.database.api_url)
            .env("KAFKA_BOOTSTRAP_SERVERS", &stage.kafka.kafka_bootstrap_servers)
            .env("ORCHESTRATION_KAFKA_PREFIX", &stage.kafka.kafka_prefix)
            .env("ORCHESTRATION_SEALING_KEYS", sealing_keys("a"))
            .env("ORCHESTRATION_RATE_LIMIT_PER_MINUTE", "0")
            .env("ORCHESTRATION_RATE_LIMIT_PER_HOUR", "0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = tokio::task::spawn_blocking(move || {
            let address = log.find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(&line).ok()?;
                Some(line["address"].as_str()?.to_owned())
            });
            // Nobody may be kept waiting for a full pipe.
            std::thread::spawn(move || log.for_each(|line| eprintln!("{line}")));
            address
        });
        let address = address.await.unwrap().expect("the API says where it answers");
        Self { process, url: format!("http://{address}") }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks it to stop, and says how long that took.
    pub async fn stop(mut self) -> Duration {
        let asked = Instant::now();
        Command::new("kill").arg(self.id().to_string()).status().unwrap();
        while self.process.try_wait().unwrap().is_none() {
            assert!(asked.elapsed() < Duration::from_secs(60), "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        asked.elapsed()
    }

    /// A metric without labels, as it tells it.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = reqwest::get(format!("{}/metrics", self.url)).await.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// The memory it holds, in MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.kill();
    }
}
