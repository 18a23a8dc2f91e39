//! Parses the `--help` text of a program and of its subcommands.

use std::path::Path;
use std::process::Command;

use crate::checks::run;

/// A terminal width in which no line is wrapped.
const COLUMNS: &str = "1000";

/// The `--help` text of one command, parsed.
#[derive(Clone)]
pub(super) struct HelpPage {
    /// The program and its subcommands.
    pub command: String,
    pub about: String,
    pub subcommands: Vec<String>,
    pub arguments: Vec<Parameter>,
    pub options: Vec<Parameter>,
}

/// A flag or a positional argument.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameter {
    /// The usage, for example `--listen <LISTEN>`.
    pub usage: String,
    pub meaning: String,
    pub variable: Option<String>,
    pub default: Option<String>,
    pub values: Option<String>,
}

impl HelpPage {
    /// Returns the pages of a command and of all its subcommands.
    pub(super) fn read(programs: &Path, command: &str) -> Vec<Self> {
        let mut words = command.split(' ');
        let mut program = Command::new(programs.join(words.next().unwrap()));
        program.env_clear().env("COLUMNS", COLUMNS).args(words).arg("--help");
        let page = Self::parse(command, &run(&mut program).unwrap());
        let below = page.subcommands.clone();
        let below = below.iter().flat_map(|name| Self::read(programs, &format!("{command} {name}")));
        [page].into_iter().chain(below).collect()
    }

    pub(super) fn parse(command: &str, text: &str) -> Self {
        let about = text.split("\nUsage:").next().unwrap_or_default();
        let parameters = |title| section(text, title).iter().map(|entry| Parameter::parse(entry)).collect();
        let mut options: Vec<Parameter> = parameters("Options:");
        options.retain(|it| !it.usage.ends_with("--help") && !it.usage.ends_with("--version"));
        let subcommands = section(text, "Commands:");
        let names = subcommands.iter().filter_map(|entry| entry.split_whitespace().next());
        Self {
            command: command.to_owned(),
            about: one_line(about),
            subcommands: names.filter(|name| *name != "help").map(str::to_owned).collect(),
            arguments: parameters("Arguments:"),
            options,
        }
    }
}

impl Parameter {
    /// Parses an entry: the usage, then two spaces or a line break, then the description with attributes in
    /// brackets.
    fn parse(entry: &str) -> Self {
        let (usage, rest) = match entry.split_once('\n') {
            Some((first, rest)) if !first.trim().contains("  ") => (first, rest),
            _ => entry.trim_start().split_once("  ").unwrap_or((entry, "")),
        };
        let mut rest = one_line(rest);
        let variable = take(&mut rest, "[env: ").map(|it| it.trim_end_matches('=').to_owned());
        let default = take(&mut rest, "[default: ");
        let values = take(&mut rest, "[possible values: ").or_else(|| explained_values(&mut rest));
        Self { usage: usage.trim().to_owned(), meaning: rest.trim().to_owned(), variable, default, values }
    }
}

/// Removes an attribute in brackets from the text and returns its value.
fn take(text: &mut String, begin: &str) -> Option<String> {
    let from = text.find(begin)?;
    let to = from + text[from..].find(']')?;
    let value = text[from + begin.len()..to].to_owned();
    text.replace_range(from..=to, "");
    Some(value)
}

/// Removes the list of values with descriptions from the text and returns it.
fn explained_values(text: &mut String) -> Option<String> {
    let from = text.find("Possible values:")?;
    let list = text.split_off(from);
    let values = list.split(" - ").skip(1).filter_map(|value| value.split_once(": "));
    let values: Vec<String> = values.map(|(name, meaning)| format!("{name} ({})", meaning.trim())).collect();
    Some(values.join(", "))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the entries of a section. The first line of an entry has the least indentation.
fn section(text: &str, title: &str) -> Vec<String> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != title)
        .skip(1)
        .take_while(|line| line.is_empty() || line.starts_with(' '))
        .filter(|line| !line.trim().is_empty())
        .collect();
    // A long flag without a short one is indented by four more columns.
    let first = lines.iter().map(|line| indentation(line)).min().unwrap_or(0) + 4;
    let mut entries: Vec<String> = Vec::new();
    for line in lines {
        match entries.last_mut() {
            Some(entry) if indentation(line) > first => entry.extend(["\n", line]),
            _ => entries.push(line.to_owned()),
        }
    }
    entries
}

#[test]
fn help_pages_are_parsed() {
    let long = "Serves\n\nUsage: x [OPTIONS] <ID>\n\nArguments:\n  <ID>  Which\n\nOptions:\n      \
                --listen <LISTEN>\n          \
                Where to\n          answer\n          \n          [env: X_LISTEN=]\n          \
                [default: 1:80]\n\n  \
                -h, --help\n          Print help\n";
    let page = HelpPage::parse("x", long);
    let argument = Parameter { usage: "<ID>".into(), meaning: "Which".into(), ..Parameter::default() };
    assert_eq!(page.arguments, [argument]);
    let option = Parameter {
        usage: "--listen <LISTEN>".into(),
        meaning: "Where to answer".into(),
        variable: Some("X_LISTEN".into()),
        default: Some("1:80".into()),
        values: None,
    };
    assert_eq!(page.options, [option]);
    let short = "Makes\n\nUsage: x <COMMAND>\n\nCommands:\n  one   First\n  help  Print\n\nOptions:\n      \
                 --json  Print JSON\n  -h, --help  Print help\n";
    let page = HelpPage::parse("x", short);
    assert_eq!((page.subcommands, page.options.len()), (vec!["one".to_owned()], 1));
    assert_eq!(page.options[0].meaning, "Print JSON");
}
