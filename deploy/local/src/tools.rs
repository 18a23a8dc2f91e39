//! Programs that this crate needs on the machine. Each is found, or installed where that is possible;
//! otherwise an error says how to install it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{paths, progress, service};

/// Returns the first executable of this name on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| is_executable(path))
}

/// Returns whether the path is an executable file.
pub(crate) fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Returns whether this process runs as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs a command without blocking the runtime and returns its standard output. The error of a failed command
/// holds the last lines of its output.
pub(crate) async fn run(mut command: Command) -> Result<String> {
    let shown = show(&command);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await?;
    let output = output.with_context(|| format!("cannot run `{shown}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let all = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<&str> = all.trim().lines().collect();
    let end = lines[lines.len().saturating_sub(10)..].join("\n");
    bail!("`{shown}` failed ({}):\n{end}", output.status)
}

/// Installs a system package with `apt-get`. Unless this process runs as root, it fails and names the
/// package.
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

/// Returns a program from `PATH`, after installing the system package of the same name if it is missing.
pub async fn program(name: &str) -> Result<PathBuf> {
    program_of(name, name).await
}

/// Returns a program from `PATH`, after installing the system package that provides it if it is missing.
pub async fn program_of(name: &str, package: &str) -> Result<PathBuf> {
    if on_path(name).is_none() {
        install_package(package, name).await?;
    }
    on_path(name).with_context(|| format!("the package {package} contains no {name}"))
}

/// Returns `uv`, from `PATH` or installed into its own virtual environment under `.local/`.
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

/// Returns a program that cargo builds from this version of the crate of its name, under `.local/`.
pub async fn cargo_program(name: &str, version: &str) -> Result<PathBuf> {
    let _lock = service::lock(name).await?;
    let folder = paths::local_dir().join(format!("tools/{name}-{version}"));
    let program = folder.join("bin").join(name);
    if is_executable(&program) {
        return Ok(program);
    }
    paths::require_space(1)?;
    progress::note(&format!("building {name} {version} with cargo"));
    let mut install = Command::new("cargo");
    install.args(["install", "--quiet", "--locked", "--root"]).arg(&folder);
    install.arg(format!("{name}@{version}")).env_remove("CARGO_TARGET_DIR");
    run(install).await.with_context(|| format!("cannot install {name}"))?;
    Ok(program)
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn error_of_a_failed_command_contains_the_command_and_its_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo disk full >&2; exit 3"]);
        let error = run(command).await.unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("disk full") && error.contains('3'), "{error}");
    }

    #[test]
    fn programs_are_found_on_path_only_if_executable() {
        assert!(on_path("sh").is_some());
        assert!(on_path("no-such-program-anywhere").is_none());
    }
}
