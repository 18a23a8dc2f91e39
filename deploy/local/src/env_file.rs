//! `.local/demo.env`: settings in shell syntax, written for people to source and read back by us.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::paths;

/// DemoSettings by name.
pub(crate) type DemoSettings = BTreeMap<String, String>;

/// Where the settings lie.
pub(crate) fn path() -> PathBuf {
    paths::local_dir().join("demo.env")
}

/// What was written before; nothing when there is no file.
pub(crate) fn read() -> Result<DemoSettings> {
    match std::fs::read_to_string(path()) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DemoSettings::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path().display())),
    }
}

/// Replaces the file; only its owner may read it, for it holds keys.
pub(crate) fn write(settings: &DemoSettings) -> Result<()> {
    paths::write_file(&path(), &render(settings), 0o600)
}

fn render(settings: &DemoSettings) -> String {
    let lines = settings.iter().map(|(name, value)| format!("export {name}={}\n", quote(value)));
    let head = "# Written by `cargo demo`. Source it, then start another worker or API by hand.\n";
    std::iter::once(head.to_owned()).chain(lines).collect()
}

fn parse(text: &str) -> DemoSettings {
    let assignments = text.lines().filter_map(|line| line.trim().strip_prefix("export ")?.split_once('='));
    assignments.map(|(name, value)| (name.to_owned(), unquote(value))).collect()
}

/// In single quotes everything is itself but the quote.
fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn unquote(value: &str) -> String {
    let inner = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\''));
    inner.map_or_else(|| value.to_owned(), |inner| inner.replace(r"'\''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_a_shell_reads_the_same() {
        let hostile = r#"it's $HOME "and" `more` \ back"#;
        let settings = DemoSettings::from([("A".into(), hostile.into()), ("B".into(), "plain".into())]);
        let text = render(&settings);
        assert_eq!(parse(&text), settings);
        let script = format!("{text}printf %s \"$A\"");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), hostile);
    }

    #[test]
    fn lines_that_are_no_setting_are_passed_over() {
        assert_eq!(parse("# note\n\nexport A=1\nB=2\n"), DemoSettings::from([("A".into(), "1".into())]));
    }
}
