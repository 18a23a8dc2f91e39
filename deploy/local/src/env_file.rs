//! Reads and writes `.local/demo.env`: settings in shell syntax, which a user can source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::paths;

/// Environment variables of the worker and the API, by name.
pub(crate) type DemoSettings = BTreeMap<String, String>;

/// Returns the path of the settings file.
pub(crate) fn path() -> PathBuf {
    paths::local_dir().join("demo.env")
}

/// Reads the settings file. A missing file gives empty settings.
pub(crate) fn read() -> Result<DemoSettings> {
    match std::fs::read_to_string(path()) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(DemoSettings::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path().display())),
    }
}

/// Replaces the settings file. Only its owner may read it, because it holds keys.
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

/// Quotes a value for the shell. Between single quotes only the single quote itself is special.
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
    fn rendered_settings_are_parsed_back_and_read_alike_by_a_shell() {
        let hostile = r#"it's $HOME "and" `more` \ back"#;
        let settings = DemoSettings::from([("A".into(), hostile.into()), ("B".into(), "plain".into())]);
        let text = render(&settings);
        assert_eq!(parse(&text), settings);
        let script = format!("{text}printf %s \"$A\"");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), hostile);
    }

    #[test]
    fn lines_without_an_export_are_ignored() {
        assert_eq!(parse("# note\n\nexport A=1\nB=2\n"), DemoSettings::from([("A".into(), "1".into())]));
    }
}
