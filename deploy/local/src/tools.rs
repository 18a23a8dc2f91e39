//! Programs that must be on the machine: found, or installed where that is possible, or asked for in one sentence.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{paths, progress, service};

/// The first executable of this name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| is_executable(path))
}

/// Whether there is a file here that may be run.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Whether we may do everything here.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command to its end without blocking the runtime; its output, or a sentence with the end of what it said.
pub(crate) async fn run(mut command: Command) -> Result<String> {
    let shown = show(&command);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.with_context(|| format!("cannot run `{shown}`"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaint = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = complaint.trim().lines().collect();
    let end = lines[lines.len().saturating_sub(10)..].join("\n");
    bail!("`{shown}` failed ({}):\n{end}", output.status)
}

/// A package of the system's, by `apt-get` when we are root; else a sentence that asks for it.
pub(crate) async fn install_package(package: &str, purpose: &str) -> Result<()> {
    let Some(apt) = on_path("apt-get").filter(|_| is_root()) else {
        bail!("{purpose} is missing: install it (on Debian or Ubuntu: sudo apt-get install {package})");
    };
    let _lock = service::lock("packages").await?;
    progress::note(&format!("installing the system's package {package}"));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(&apt);
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    run(apt(&["update", "-q"])).await.context("cannot read the package lists")?;
    run(apt(&["install", "-y", "-q", "--no-install-recommends", package])).await?;
    Ok(())
}

/// A program from `PATH`, or from the system's package of this name when it is missing there.
pub async fn program(name: &str) -> Result<PathBuf> {
    program_of(name, name).await
}

/// A program from `PATH`, or from the system's package that brings it when it is missing there.
pub async fn program_of(name: &str, package: &str) -> Result<PathBuf> {
    if on_path(name).is_none() {
        install_package(package, name).await?;
    }
    on_path(name).with_context(|| format!("the package {package} brought no {name}"))
}

/// `uv`, from `PATH` or installed into a virtual environment of its own under `.local/`.
pub(crate) async fn uv() -> Result<PathBuf> {
    if let Some(uv) = on_path("uv") {
        return Ok(uv);
    }
    let _lock = service::lock("uv").await?;
    let folder = paths::local_dir().join("uv");
    let uv = folder.join("bin/uv");
    if is_executable(&uv) {
        return Ok(uv);
    }
    progress::note("installing uv, Python's package installer");
    let missing = "uv is missing and cannot be installed: install uv, or Python 3 with its venv module \
                   (on Debian or Ubuntu: sudo apt-get install python3-venv)";
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    run(venv).await.context(missing)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "uv"]);
    run(pip).await.context(missing)?;
    Ok(uv)
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_command_is_quoted_with_what_it_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such luck >&2; exit 3"]);
        let error = run(command).await.unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("no such luck") && error.contains('3'), "{error}");
    }

    #[test]
    fn only_executables_are_found_on_path() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }
}
