//! Load generators: the maximum throughput over a number of connections, by `wrk`, and requests at a constant
//! rate, whose latency is measured from the time at which each was due.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) struct LoadGenerator {
    pub time: Duration,
    pub connections: usize,
    pub wrk: PathBuf,
}

/// The result of a measurement with all connections busy.
pub(crate) struct Throughput {
    pub per_second: f64,
}

/// The result of a measurement at a constant rate.
pub(crate) struct PacedLatency {
    pub per_second: f64,
    pub median: Duration,
    pub p99: Duration,
}

/// Requests the paths of a file in turn, and prints the results in one line.
const SCRIPT: &str = r#"
local paths, at = {}, 0
for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
function request()
  at = at % #paths + 1
  return wrk.format("GET", paths[at])
end
function done(summary)
  local e = summary.errors
  io.write(string.format("\nDONE %d %d %d\n", summary.requests, summary.duration,
  e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

impl LoadGenerator {
    /// Each connection sends the next request as soon as it has the response.
    pub(crate) async fn saturate(
        &self,
        address: &str,
        key: Option<&str>,
        paths: &[String],
    ) -> anyhow::Result<Throughput> {
        let folder = tempfile::tempdir()?;
        let (list, script) = (folder.path().join("paths"), folder.path().join("requests.lua"));
        std::fs::write(&list, paths.join("\n"))?;
        std::fs::write(&script, SCRIPT)?;
        let mut wrk = Command::new(&self.wrk);
        wrk.env("BENCH_PATHS", &list).arg("-t1").arg(format!("-c{}", self.connections));
        wrk.arg(format!("-d{}s", self.time.as_secs())).arg("-s").arg(&script);
        if let Some(key) = key {
            wrk.arg("-H").arg(format!("Authorization: Bearer {key}"));
        }
        let output = wrk.arg(format!("http://{address}/")).output().await?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let done = stdout.lines().find_map(|line| line.strip_prefix("DONE "));
        let numbers: Vec<f64> = done.unwrap_or_default().split(' ').filter_map(|n| n.parse().ok()).collect();
        let [requests, microseconds, errors] = numbers[..] else {
            anyhow::bail!("wrk: {stdout}{}", String::from_utf8_lossy(&output.stderr))
        };
        ensure!(errors == 0.0, "{errors} of {requests} responses of {} were errors", paths[0]);
        Ok(Throughput { per_second: requests / (microseconds / 1e6) })
    }

    /// Sends requests at this rate per second, without waiting for responses.
    pub(crate) async fn paced(
        &self,
        address: &str,
        key: &str,
        path: &str,
        per_second: f64,
    ) -> anyhow::Result<PacedLatency> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let url = format!("http://{address}{path}");
        let mut due = interval(Duration::from_secs_f64(1.0 / per_second));
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = Instant::now() + self.time;
        let mut sent = Vec::new();
        while Instant::now() < end {
            let due = due.tick().await;
            let request = client.get(&url).bearer_auth(key);
            sent.push(tokio::spawn(async move {
                request.send().await?.error_for_status()?.bytes().await?;
                Ok::<_, reqwest::Error>(due.elapsed())
            }));
        }
        let mut latencies = Vec::new();
        for response in sent {
            latencies.push(response.await??);
        }
        latencies.sort();
        let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied();
        let [median, p99] = [0.5, 0.99].map(at).map(|latency| latency.context("there was no response"));
        Ok(PacedLatency {
            per_second: latencies.len() as f64 / self.time.as_secs_f64(),
            median: median?,
            p99: p99?,
        })
    }
}
