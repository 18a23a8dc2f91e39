//! Python interpreters and virtual environments for packages from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::settings::setting;
use crate::{paths, progress, service, tools};

/// Installs a virtual environment under `.local/` with exactly the packages of a requirements file, on the
/// first of these CPython versions (such as `3.12`) that runs here. Returns its folder.
///
/// It is installed again only when the requirements change.
pub async fn environment(name: &str, versions: &[&str], requirements: &Path) -> Result<PathBuf> {
    let required = std::fs::read_to_string(requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let _lock = service::lock(name).await?;
    let folder = paths::local_dir().join(name);
    let installed = folder.join("installed.txt");
    if std::fs::read_to_string(&installed).is_ok_and(|present| present == required) {
        return Ok(folder);
    }
    paths::require_space(1)?;
    let uv = tools::uv().await?;
    let python = find(versions).await;
    let shown = python.clone().unwrap_or_else(|| format!("a download of CPython {}", versions[0]));
    progress::note(&format!("installing {name} with {shown}"));
    let mut venv = Command::new(&uv);
    venv.args(["venv", "--quiet", "--clear", "-p", python.as_deref().unwrap_or(versions[0])]).arg(&folder);
    tools::run(venv).await.with_context(|| missing(versions))?;
    let mut install = Command::new(&uv);
    install.args(["pip", "install", "--quiet", "-r"]).arg(requirements).env("VIRTUAL_ENV", &folder);
    tools::run(install).await.with_context(|| format!("cannot install {name}"))?;
    paths::write_file(&installed, &required, 0o644)?;
    Ok(folder)
}

fn missing(versions: &[&str]) -> String {
    format!(
        "no CPython {} found on PATH or under pyenv, and none could be downloaded: install one, or set \
         ORCHESTRATION_PYTHON to its path",
        versions.join(" or ")
    )
}

/// Searches `ORCHESTRATION_PYTHON`, then `PATH`, then pyenv. Each candidate is run, because pyenv's shims on
/// `PATH` may fail.
async fn find(versions: &[&str]) -> Option<String> {
    let configured = setting("ORCHESTRATION_PYTHON");
    let on_path = versions.iter().filter_map(|version| tools::on_path(&format!("python{version}")));
    let on_path = on_path.map(|path| path.to_string_lossy().into_owned());
    let pyenv = versions.iter().flat_map(|version| pyenv_pythons(version));
    for python in configured.into_iter().chain(on_path).chain(pyenv) {
        if version_of(&python).await.is_some_and(|version| versions.contains(&version.as_str())) {
            return Some(python);
        }
    }
    None
}

/// Returns the major and minor version of an interpreter, such as `3.12`.
async fn version_of(python: &str) -> Option<String> {
    let mut command = Command::new(python);
    command.args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]);
    Some(tools::run(command).await.ok()?.trim().to_owned())
}

fn pyenv_pythons(version: &str) -> Vec<String> {
    let configured = setting("PYENV_ROOT").map(PathBuf::from);
    let default = setting("HOME").map(|home| PathBuf::from(home).join(".pyenv"));
    let roots = configured.into_iter().chain(default);
    let prefix = format!("{version}.");
    let mut found: Vec<String> = roots
        .filter_map(|root| std::fs::read_dir(root.join("versions")).ok())
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
        .map(|entry| entry.path().join("bin/python").to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}
