//! Prints the last lines of the services' logs, once or continuously.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::log_tail;
use crate::progress::print;
use crate::service::LocalService;

/// Reads the lines that are appended to a log, from a byte position on.
struct LogFollower {
    name: String,
    path: PathBuf,
    position: u64,
}

/// Prints the last `lines` lines of each log. With `follow` it then prints appended lines and does not
/// return.
pub async fn show(services: &[LocalService], lines: usize, follow: bool) -> Result<()> {
    let mut followers: Vec<LogFollower> =
        services.iter().filter(|service| service.log().exists()).map(LogFollower::new).collect();
    if followers.is_empty() {
        bail!("there is no log yet: start something with `cargo demo` or `cargo local up`");
    }
    let several = followers.len() > 1;
    for follower in &mut followers {
        let tail = log_tail(&follower.path, lines);
        follower.position = follower.path.metadata().map(|data| data.len()).unwrap_or_default();
        show_lines(&follower.name, &tail, several);
    }
    if !follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for follower in &mut followers {
            let appended = follower.read_appended()?;
            show_lines(&follower.name, &appended, several);
        }
    }
}

impl LogFollower {
    fn new(service: &LocalService) -> Self {
        Self { name: service.name.clone(), path: service.log(), position: 0 }
    }

    /// Returns the complete lines that were appended since the last call, at most 1 MiB of them.
    fn read_appended(&mut self) -> Result<String> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.position {
            // The log was rotated.
            self.position = 0;
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.take(1 << 20).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.position += u64::try_from(whole)?;
        Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
    }
}

fn show_lines(name: &str, text: &str, several: bool) {
    for line in text.lines() {
        if several { print(&format!("{name:<9}| {line}")) } else { print(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follower_returns_each_complete_line_once() {
        let path = std::env::temp_dir().join(format!("orchestration-logs-{}.log", std::process::id()));
        let mut follower = LogFollower { name: "api".into(), path: path.clone(), position: 0 };
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(follower.read_appended().unwrap(), "one\ntwo\n");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(follower.read_appended().unwrap(), "three\n");
        assert_eq!(follower.read_appended().unwrap(), "");
        std::fs::write(&path, "new\n").unwrap();
        assert_eq!(follower.read_appended().unwrap(), "new\n");
        std::fs::remove_file(path).unwrap();
    }
}
