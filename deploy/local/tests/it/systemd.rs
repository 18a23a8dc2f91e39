//! The units, verified and rated by systemd's own tool. They are not started: that needs systemd as the init.

use std::path::PathBuf;
use std::process::Command;

use crate::checks::{repository, run};

/// The worst rating that is let pass, in tenths: 0 is shut away from everything, 100 is free to do anything.
const EXPOSURE: &str = "15";

/// systemd's own tool; the units in a folder, with programs that exist on this machine.
async fn units() -> (PathBuf, tempfile::TempDir, Vec<PathBuf>) {
    let tool = local::program_of("systemd-analyze", "systemd").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for entry in std::fs::read_dir(repository().join("deploy/systemd")).unwrap() {
        let entry = entry.unwrap();
        let unit = std::fs::read_to_string(entry.path()).unwrap();
        assert!(unit.contains("ExecStart=/usr/local/bin/orchestration-"));
        let copy = folder.path().join(entry.file_name());
        std::fs::write(&copy, unit.replace("/usr/local/bin/orchestration-", "/bin/true orchestration-"))
            .unwrap();
        units.push(copy);
    }
    units.sort();
    (tool, folder, units)
}

#[tokio::test]
async fn the_units_are_understood_as_they_are_written() {
    let (tool, _folder, units) = units().await;
    assert_eq!(units.len(), 3);
    let mut verify = Command::new(tool);
    let output = verify.args(["verify", "--man=no"]).args(units).output().unwrap();
    // It warns of settings that it does not know, and succeeds.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[tokio::test]
async fn the_units_are_shut_away() {
    let (tool, _folder, units) = units().await;
    for unit in units {
        let mut rate = Command::new(&tool);
        rate.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE]).arg(&unit);
        run(&mut rate).unwrap_or_else(|complaint| panic!("{}: {complaint}", unit.display()));
    }
}
