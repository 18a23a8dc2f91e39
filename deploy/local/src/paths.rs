//! Paths on disk: the workspace, the git-ignored `.local/` folder and the files in it. The contents of the
//! files are left to other modules.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::settings::setting;

/// Returns the root of the workspace that this crate was compiled in.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here).to_path_buf()
}

/// Returns the path of a file in this crate's own folder.
pub(crate) fn asset(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// Returns the folder that holds all state: `ORCHESTRATION_LOCAL_DIR`, or `.local/` in the workspace.
pub(crate) fn local_dir() -> PathBuf {
    match setting("ORCHESTRATION_LOCAL_DIR") {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| dir.into()),
        None => workspace().join(".local"),
    }
}

/// Returns a path under [`local_dir`] after creating its parent folder.
pub(crate) fn local_path(relative: &str) -> Result<PathBuf> {
    let path = local_dir().join(relative);
    create_parent(&path)?;
    Ok(path)
}

/// Creates a folder under [`local_dir`] and returns its path.
pub(crate) fn local_folder(relative: &str) -> Result<PathBuf> {
    let path = local_dir().join(relative);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot create the folder {}", path.display()))?;
    Ok(path)
}

/// Replaces a file atomically, so that a reader never sees a partial file.
pub(crate) fn write_file(path: &Path, text: &str, mode: u32) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    create_parent(path)?;
    let fresh = path.with_added_extension(format!("{}.tmp", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        std::fs::rename(&fresh, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Fails when the disk below [`local_dir`] has less than `gib` GiB free.
pub(crate) fn require_space(gib: u64) -> Result<()> {
    let dir = local_folder("")?;
    let disk = rustix::fs::statvfs(&dir).with_context(|| format!("cannot look at {}", dir.display()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize) >> 30;
    if free < gib {
        bail!(
            "{} has {free} GiB of disk left and about {gib} GiB are needed: free some, or set \
             ORCHESTRATION_LOCAL_DIR to a folder on a larger disk",
            dir.display()
        );
    }
    Ok(())
}

/// Returns a short hash of a path, the same on every run.
pub(crate) fn path_hash(path: &Path) -> String {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, path.as_os_str().as_encoded_bytes());
    id.simple().to_string().chars().take(12).collect()
}

fn create_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).with_context(|| format!("cannot create the folder {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_hash_is_stable_and_differs_between_paths() {
        assert_eq!(path_hash(Path::new("/a/.local")), path_hash(Path::new("/a/.local")));
        assert_ne!(path_hash(Path::new("/a/.local")), path_hash(Path::new("/b/.local")));
        assert_eq!(path_hash(Path::new("/a")).len(), 12);
    }
}
