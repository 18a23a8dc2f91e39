//! Tests of the systemd units with `systemd-analyze`. The units are not started, because that needs systemd
//! as the init system.

use std::path::PathBuf;
use std::process::Command;

use crate::checks::{repository, run, text};

/// Maximum exposure of a unit in tenths, from 0 (fully sandboxed) to 100 (unrestricted).
const MAX_EXPOSURE: &str = "15";

/// Returns `systemd-analyze` and copies of the units whose programs exist on this machine.
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
async fn units_are_verified_without_warnings() {
    let (tool, _folder, units) = units().await;
    assert_eq!(units.len(), 3);
    let mut verify = Command::new(tool);
    let output = verify.args(["verify", "--man=no"]).args(units).output().unwrap();
    // Unknown settings only cause a warning.
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[tokio::test]
async fn units_are_sandboxed() {
    let (tool, _folder, units) = units().await;
    for unit in units {
        let mut rate = Command::new(&tool);
        rate.args(["security", "--offline=true", "--no-pager", "--threshold", MAX_EXPOSURE]).arg(&unit);
        run(&mut rate).unwrap_or_else(|error| panic!("{}: {error}", unit.display()));
    }
}

/// A start job fails with the first try of a unit that it requires, even if that unit is started again.
#[test]
fn a_late_postgresql_at_boot_does_not_keep_the_programs_down() {
    for program in ["api", "worker"] {
        let unit = text(&format!("deploy/systemd/orchestration-{program}.service"));
        let values = |name: &str| {
            let lines = unit.lines().filter_map(|line| line.strip_prefix(name));
            lines.flat_map(str::split_whitespace).collect::<Vec<_>>()
        };
        let migration = "orchestration-migration.service";
        assert!(values("Wants=").contains(&migration) && values("After=").contains(&migration), "{unit}");
        for strict in ["Requires=", "Requisite=", "BindsTo="] {
            assert_eq!(values(strict), [""; 0], "{program}");
        }
    }
    let migration = text("deploy/systemd/orchestration-migration.service");
    assert!(migration.contains("orchestration-api migrate --wait "), "{migration}");
}
