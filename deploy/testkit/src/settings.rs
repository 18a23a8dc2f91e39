//! The settings of a program, each given something wrong.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Command, Parser};
use platform::command_line;

/// Values that are wrong for one setting or another, and hold a secret.
const SECRET: &str = "canary";
const WRONG: [&str; 6] = [
    "canary",
    "https://user:canary@example.org/path?query=canary#canary",
    "https://user:canary@:x",
    "postgres://user:canary@host:99999/x",
    "1,canary=canary,:",
    "99999999999999999999canary",
];

/// Asserts that the error of no setting of a command has the setting's value. `arguments` are those that the
/// command requires, its name first.
pub fn assert_hidden_settings<P: Parser>(arguments: &[&str]) {
    let program = P::command();
    let command: &Command = program.find_subcommand(arguments[0]).expect("the command exists");
    let settings = command.get_arguments().filter(|setting| setting.get_env().is_some());
    let names: Vec<&str> = settings.filter_map(|setting| setting.get_long()).collect();
    assert!(names.len() > 20, "{names:?}");
    let mut refused = 0;
    for (name, value) in names.iter().flat_map(|name| WRONG.map(|value| (name, value))) {
        let setting = [format!("--{name}={value}")];
        let words = ["program"].iter().chain(arguments).map(OsString::from);
        let Err(error) = command_line::parse_from::<P>(words.chain(setting.map(OsString::from))) else {
            continue;
        };
        let text = error.to_string();
        assert!(!text.contains(SECRET), "{text}");
        if error.kind() == ErrorKind::ValueValidation {
            let variable = format!("ORCHESTRATION_{}", name.to_uppercase().replace('-', "_"));
            let is_named = text.contains(&format!("--{name}")) || text.contains(&variable);
            assert!(is_named, "{name}={value}: {text}");
            refused += 1;
        }
    }
    assert!(refused > names.len(), "{refused} values were refused");
}
