//! Writes the page: the settings, which have an environment variable, and the commands with flags of their
//! own.

use std::collections::BTreeMap;

use super::help::{HelpPage, Parameter};

const HEAD: &str = "\
# Configuration

Every setting has a flag and an environment variable; the flag takes precedence. A program with an invalid
value does not start, and prints one sentence. The most important settings are in the
[README](../README.md#settings). A test generates this page from the `--help` of both programs:

```sh not-run
UPDATE_CONFIGURATION=1 cargo test -p orchestration-local --test it configuration
```
";

/// Returns the page as Markdown.
pub(super) fn write(pages: &[HelpPage]) -> String {
    let mut text = HEAD.to_owned();
    for (title, program) in [("API", "orchestration-api"), ("worker", "orchestration-worker")] {
        let pages: Vec<&HelpPage> =
            pages.iter().filter(|page| page.command.split(' ').next() == Some(program)).collect();
        text += &format!("\n## Settings of the {title}\n\n");
        text += "| variable | flag | default | meaning | commands |\n|---|---|---|---|---|\n";
        for (setting, commands) in settings(&pages) {
            let has = |name: &str| commands.iter().any(|it| it.split(' ').next() == Some(name));
            let is_everywhere = pages[0].subcommands.iter().all(|name| has(name));
            let commands: Vec<String> = commands.iter().map(|name| format!("`{name}`")).collect();
            let commands = if is_everywhere { "all".to_owned() } else { commands.join(", ") };
            let variable = setting.variable.as_deref().unwrap_or_default();
            let (default, meaning) = (default(setting), meaning(setting));
            text += &format!("| `{variable}` | `{}` | {default} | {meaning} | {commands} |\n", flag(setting));
        }
        text += &format!("\n## Commands of the {title}\n\n");
        text += "| command | what it does | its own arguments |\n|---|---|---|\n";
        for page in pages {
            text += &command(page);
        }
    }
    text
}

/// Returns the settings in the order of the first command with each, and the commands with each setting.
fn settings<'a>(pages: &[&'a HelpPage]) -> Vec<(&'a Parameter, Vec<&'a str>)> {
    let mut indices: BTreeMap<&str, usize> = BTreeMap::new();
    let mut settings: Vec<(&Parameter, Vec<&str>)> = Vec::new();
    for page in pages {
        let command = page.command.split_once(' ').map_or("", |(_, command)| command);
        for setting in &page.options {
            let Some(variable) = &setting.variable else { continue };
            let index = *indices.entry(variable).or_insert_with(|| {
                settings.push((setting, Vec::new()));
                settings.len() - 1
            });
            settings[index].1.push(command);
        }
    }
    settings
}

/// Returns the row of a command, without the flags that all commands of the program have.
fn command(page: &HelpPage) -> String {
    let is_subcommand = page.command.contains(' ');
    let own = page.options.iter().filter(|it| it.variable.is_none());
    let own = own.filter(|it| !is_subcommand || it.usage != "--json" || page.command.contains("worker"));
    let arguments: Vec<String> = page.arguments.iter().chain(own).map(argument).collect();
    format!("| `{}` | {} | {} |\n", page.command, page.about, arguments.join("<br>"))
}

fn argument(parameter: &Parameter) -> String {
    let default =
        parameter.default.as_ref().map_or(String::new(), |default| format!(" (default `{default}`)"));
    let meaning = meaning(parameter);
    let colon = if meaning.is_empty() { "" } else { ": " };
    format!("`{}`{colon}{meaning}{default}", parameter.usage)
}

/// Returns the flag without the name of its value.
fn flag(setting: &Parameter) -> &str {
    setting.usage.split([' ', '[']).next().unwrap_or_default()
}

fn default(parameter: &Parameter) -> String {
    parameter.default.as_ref().map_or(String::new(), |default| format!("`{default}`"))
}

fn meaning(parameter: &Parameter) -> String {
    let values = parameter.values.as_ref().map(|values| format!("one of {values}"));
    let parts = [Some(parameter.meaning.clone()).filter(|it| !it.is_empty()), values];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ").replace('|', "\\|").replace('<', "&lt;")
}
