//! Load on a server: as much as it bears over so many connections, by `wrk`, and a steady rate below that,
//! each answer's latency taken from the moment it was due.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval};

pub(crate) struct Load {
    pub time: Duration,
    pub connections: usize,
    pub wrk: PathBuf,
}

/// As much as it bears.
pub(crate) struct Full {
    pub per_second: f64,
}

/// At a steady rate.
pub(crate) struct Latency {
    pub per_second: f64,
    pub median: Duration,
    pub p99: Duration,
}

/// Asks for the paths of a file, by turns, and says what became of it in one line.
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

impl Load {
    /// All connections ask again as soon as they are answered.
    pub(crate) async fn full(
        &self,
        address: &str,
        key: Option<&str>,
        paths: &[String],
    ) -> anyhow::Result<Full> {
        let folder = tempfile::tempdir()?;
        let (list, script) = (folder.path().join("paths"), folder.path().join("ask.lua"));
        std::fs::write(&list, paths.join("\n"))?;
        std::fs::write(&script, SCRIPT)?;
        let mut wrk = Command::new(&self.wrk);
        wrk.env("BENCH_PATHS", &list).arg("-t1").arg(format!("-c{}", self.connections));
        wrk.arg(format!("-d{}s", self.time.as_secs())).arg("-s").arg(&script);
        if let Some(key) = key {
            wrk.arg("-H").arg(format!("Authorization: Bearer {key}"));
        }
        let output = wrk.arg(format!("http://{address}/")).output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let done = said.lines().find_map(|line| line.strip_prefix("DONE "));
        let numbers: Vec<f64> = done.unwrap_or_default().split(' ').filter_map(|n| n.parse().ok()).collect();
        let [requests, microseconds, errors] = numbers[..] else {
            anyhow::bail!("wrk: {said}{}", String::from_utf8_lossy(&output.stderr))
        };
        ensure!(errors == 0.0, "{errors} of {requests} answers of {} were errors", paths[0]);
        Ok(Full { per_second: requests / (microseconds / 1e6) })
    }

    /// So many a second, whether the one before was answered or not.
    pub(crate) async fn paced(
        &self,
        address: &str,
        key: &str,
        path: &str,
        per_second: f64,
    ) -> anyhow::Result<Latency> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        let url = format!("http://{address}{path}");
        let mut due = interval(Duration::from_secs_f64(1.0 / per_second));
        due.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let end = Instant::now() + self.time;
        let mut asked = Vec::new();
        while Instant::now() < end {
            let due = due.tick().await;
            let request = client.get(&url).bearer_auth(key);
            asked.push(tokio::spawn(async move {
                request.send().await?.error_for_status()?.bytes().await?;
                Ok::<_, reqwest::Error>(due.elapsed())
            }));
        }
        let mut latencies = Vec::new();
        for answer in asked {
            latencies.push(answer.await??);
        }
        latencies.sort();
        let at = |part: f64| latencies.get((latencies.len() as f64 * part) as usize).copied();
        let [median, p99] = [0.5, 0.99].map(at).map(|latency| latency.context("nothing was answered"));
        Ok(Latency {
            per_second: latencies.len() as f64 / self.time.as_secs_f64(),
            median: median?,
            p99: p99?,
        })
    }
}
