//! Simulates an operator at a shell, who runs the blocks of the documents in order while our programs run.
//! Exported variables are kept between the blocks.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::checks::repository;
use crate::documents::ShellBlock;

/// Maximum time of one block, and of a program until it is ready.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A shell that keeps its exported variables, and the programs that were started from it.
pub(crate) struct Operator {
    home: tempfile::TempDir,
    running: Vec<Child>,
    pub api_port: u16,
    pub worker_port: u16,
}

impl Operator {
    /// Creates an empty working folder with links to the repository's `deploy/` and to the programs.
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("work");
        std::fs::create_dir_all(folder.join("deploy")).unwrap();
        for entry in std::fs::read_dir(repository().join("deploy")).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            // A block writes this file, and a developer's own one must not be overwritten.
            if name != "compose.env" {
                symlink(path.canonicalize().unwrap(), folder.join("deploy").join(name)).unwrap();
            }
        }
        let programs = local::tested_binaries().await.unwrap();
        symlink(programs.parent().unwrap(), folder.join("target")).unwrap();
        let operator = Self { home, running: Vec::new(), api_port: free_port(), worker_port: free_port() };
        let url = format!("http://127.0.0.1:{}", operator.api_port);
        let mut export = Command::new("env");
        export.env_clear().envs(settings.iter().copied()).env("ORCHESTRATION_URL", url);
        export.env("PATH", search_path(&programs).await).env("HOME", operator.home.path());
        export.args(["bash", "-c", "export -p"]);
        std::fs::write(operator.variables(), export.output().unwrap().stdout).unwrap();
        operator
    }

    /// Runs a block unchanged, and returns its standard output.
    pub(crate) async fn run(&self, block: &ShellBlock) -> String {
        let ShellBlock { document, line, .. } = block;
        self.shell(&block.commands).await.unwrap_or_else(|error| panic!("{document}:{line}: {error}"))
    }

    /// Runs commands, and returns their standard output. The error holds all their output.
    pub(crate) async fn shell(&self, commands: &str) -> Result<String, String> {
        let script = format!("set -euo pipefail\n. ../variables\n{commands}\nexport -p > ../variables\n");
        let mut bash = tokio::process::Command::new("bash");
        bash.env_clear()
            .current_dir(self.folder())
            .args(["-c", &script])
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(TIMEOUT, bash.output()).await;
        let output = output.map_err(|_| format!("still not done after {TIMEOUT:?}:\n{commands}"))?.unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(stdout)
        } else {
            Err(format!("{commands}\n{stdout}{}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Returns the value of a variable.
    pub(crate) async fn variable(&self, name: &str) -> String {
        self.shell(&format!("printf %s \"${name}\"")).await.unwrap()
    }

    /// Starts the API and the worker with the current variables, and waits until both are ready.
    pub(crate) async fn start(&mut self) {
        let api = format!("orchestration-api serve --listen 127.0.0.1:{}", self.api_port);
        let worker = format!("orchestration-worker run --metrics-listen 127.0.0.1:{}", self.worker_port);
        for (name, program, port) in [("api", api, self.api_port), ("worker", worker, self.worker_port)] {
            let log = File::options().create(true).append(true).open(self.log(name)).unwrap();
            let mut bash = Command::new("bash");
            bash.env_clear().current_dir(self.folder());
            bash.args(["-c", &format!(". ../variables; exec {program}")]);
            self.running.push(bash.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
            let deadline = Instant::now() + TIMEOUT;
            while let Err(error) = self.shell(&format!("deploy/ready {port}")).await {
                let log = std::fs::read_to_string(self.log(name)).unwrap_or_default();
                assert!(Instant::now() < deadline, "{name} is not ready: {error}\n{log}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }

    /// Sends SIGTERM to both programs, and waits until they have ended.
    pub(crate) async fn stop(&mut self) {
        for program in &self.running {
            kill_process(Pid::from_child(program), Signal::TERM).unwrap();
        }
        let running = std::mem::take(&mut self.running);
        tokio::task::spawn_blocking(move || {
            for mut program in running {
                program.wait().unwrap();
            }
        })
        .await
        .unwrap();
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("work")
    }

    fn variables(&self) -> PathBuf {
        self.home.path().join("variables")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.home.path().join(format!("{name}.log"))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        for program in &mut self.running {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// Returns a `PATH` with our programs and PostgreSQL's first, after installing the tools that the documents
/// use.
async fn search_path(programs: &Path) -> String {
    let postgres = local::postgres_program("pg_dump").await.unwrap();
    for name in ["jq", "curl", "openssl"] {
        local::program(name).await.unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    format!("{}:{}:{path}", programs.display(), postgres.parent().unwrap().display())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
