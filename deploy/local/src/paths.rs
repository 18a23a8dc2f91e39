//! Where things lie on disk: the workspace, the git-ignored `.local/` folder and what is in it.
//! Knows nothing of what the files hold.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The root of the workspace this crate was compiled in.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().and_then(Path::parent).unwrap_or(here).to_path_buf()
}

/// A file of this crate's own folder, by its path in it.
pub(crate) fn asset(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

/// The folder that holds all state: `ORCHESTRATION_LOCAL_DIR`, or `.local/` in the workspace.
pub(crate) fn local_dir() -> PathBuf {
    match crate::settings::setting("ORCHESTRATION_LOCAL_DIR") {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| dir.into()),
        None => workspace().join(".local"),
    }
}

/// A path under [`local_dir`], its parent made.
pub(crate) fn local_path(relative: &str) -> Result<PathBuf> {
    let path = local_dir().join(relative);
    create_parent(&path)?;
    Ok(path)
}

/// A folder under [`local_dir`], made.
pub(crate) fn local_folder(relative: &str) -> Result<PathBuf> {
    let path = local_dir().join(relative);
    std::fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
    Ok(path)
}

/// Replaces a file as a whole, so that a reader never sees half of it.
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

/// Fails with one sentence when the disk below [`local_dir`] has less than `gib` GiB left.
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

/// A short name for a path, the same on every run.
pub(crate) fn path_hash(path: &Path) -> String {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, path.as_os_str().as_encoded_bytes());
    id.simple().to_string().chars().take(12).collect()
}

fn create_parent(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make the folder {}", parent.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_hash_is_stable_and_tells_paths_apart() {
        assert_eq!(path_hash(Path::new("/a/.local")), path_hash(Path::new("/a/.local")));
        assert_ne!(path_hash(Path::new("/a/.local")), path_hash(Path::new("/b/.local")));
        assert_eq!(path_hash(Path::new("/a")).len(), 12);
    }
}
