//! Checks links, anchors and commands in the documents, and parses their shell blocks for `walkthrough`,
//! which runs them.

use std::collections::BTreeSet;
use std::process::Command;

use crate::checks::{files, repository, run, text};

const PROGRAMS: [&str; 2] = ["orchestration-api", "orchestration-worker"];
/// Languages of fenced blocks with shell commands. Our documents use `sh`.
const SHELL_LANGUAGES: [&str; 5] = ["sh", "bash", "shell", "console", "zsh"];

/// A fenced block of shell commands.
#[derive(Clone, Debug)]
pub(crate) struct ShellBlock {
    pub document: String,
    pub heading: String,
    pub line: usize,
    pub commands: String,
}

/// Returns the info string and the content of every fenced block in the documents.
fn fenced_blocks() -> Vec<(String, ShellBlock)> {
    let documents = files().into_iter().filter(|file| file.ends_with(".md"));
    documents.flat_map(|document| parse_blocks(&document, &text(&document))).collect()
}

fn parse_blocks(document: &str, text: &str) -> Vec<(String, ShellBlock)> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<(String, ShellBlock)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let (document, heading) = (document.to_owned(), heading.clone());
                let block = ShellBlock { document, heading, line: number + 2, commands: String::new() };
                open = Some((info.trim().to_owned(), block));
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, block)), None) => block.commands.extend([line, "\n"]),
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    heading = title.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "{document}: a fence is not closed");
    blocks
}

/// Returns the blocks that are run, in document order.
pub(crate) fn runnable() -> Vec<ShellBlock> {
    fenced_blocks().into_iter().filter(|(info, _)| info == "sh").map(|(_, block)| block).collect()
}

/// Returns the first block of printed text under a heading of a document.
pub(crate) fn printed(document: &str, heading: &str) -> String {
    let mut blocks = fenced_blocks().into_iter().filter(|(info, _)| info == "text");
    let found = blocks.find(|(_, block)| block.document == document && block.heading == heading);
    found.unwrap_or_else(|| panic!("{document} has no text under {heading}")).1.commands
}

#[test]
fn shell_blocks_are_marked_as_run_or_not_run() {
    for (info, ShellBlock { document, line, .. }) in fenced_blocks() {
        let is_shell = info.split(' ').next().is_some_and(|it| SHELL_LANGUAGES.contains(&it));
        let is_marked = !is_shell || info == "sh" || info == "sh not-run";
        assert!(is_marked, "{document}:{line}: write `sh` or `sh not-run` instead of `{info}`");
    }
}

/// `.ci/run` calls the first line of the README that begins with `cargo test`.
#[test]
fn the_readme_names_the_test_command_in_a_block() {
    let mut blocks = fenced_blocks().into_iter().filter(|(_, block)| block.document == "README.md");
    assert!(blocks.any(|(_, block)| block.commands == "cargo test\n"), "add a block with `cargo test`");
}

#[test]
fn links_within_the_repository_have_a_target() {
    let files = files();
    let mut checked = 0;
    for document in files.iter().filter(|file| file.ends_with(".md")) {
        for target in links(&text(document)) {
            let (path, anchor) =
                target.split_once('#').map_or((&*target, None), |(path, it)| (path, Some(it)));
            let document_path = repository().join(document);
            let folder = document_path.parent().unwrap();
            let target_path = if path.is_empty() { document_path.clone() } else { folder.join(path) };
            assert!(target_path.exists(), "{document} links to {target}, which does not exist");
            if let Some(anchor) = anchor {
                let anchors = anchors(&std::fs::read_to_string(&target_path).unwrap());
                assert!(anchors.contains(anchor), "{document} links to {target}: {anchors:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 10, "only {checked} links were found");
}

/// Returns the targets of a page's links, without links to other sites.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

/// Returns the anchors of a page's headings, as GitHub derives them. A repeated heading gets a number.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    // After splitting at fences, the elements with even indices are outside of fenced blocks.
    let lines = page.split("```").step_by(2).flat_map(str::lines);
    for title in lines.filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim()) {
        let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let number = (1..).find(|number| !anchors.contains(&format!("{anchor}-{number}"))).unwrap();
        anchors.insert(if anchors.contains(&anchor) { format!("{anchor}-{number}") } else { anchor });
    }
    anchors
}

#[test]
fn anchors_are_derived_from_headings() {
    let page = "# The `audit` log: who?\n```sh\n# comment\n```\n## Rebuild\n## Rebuild\n";
    assert_eq!(anchors(page), ["the-audit-log-who", "rebuild", "rebuild-1"].map(str::to_owned).into());
}

#[tokio::test]
async fn commands_in_the_text_of_documents_exist() {
    let programs = local::tested_binaries().await.unwrap();
    let mut spans = BTreeSet::new();
    for document in files().into_iter().filter(|file| file.ends_with(".md")) {
        // After splitting at backticks, the elements with odd indices are the code spans.
        spans.extend(text(&document).split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let commands: BTreeSet<Vec<&str>> = spans
        .iter()
        .map(|span| command_words(span))
        .filter(|words| words.first().is_some_and(|it| PROGRAMS.contains(it)))
        .collect();
    assert!(commands.contains(&vec!["orchestration-worker", "dead-letters", "list"]), "{commands:?}");
    for words in commands {
        let mut command = Command::new(programs.join(words[0]));
        run(command.args(&words[1..]).arg("--help")).unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
}

/// Returns a program and its subcommands, without flags and arguments.
fn command_words(span: &str) -> Vec<&str> {
    let is_word =
        |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    span.split_whitespace().take_while(is_word).collect()
}

#[test]
fn blocks_are_parsed_with_their_headings() {
    let page = "# One\n```sh\na\nb\n```\n## Two\n```sh not-run\nc\n```\n";
    let found = parse_blocks("page.md", page);
    let blocks: Vec<_> =
        found.iter().map(|(info, block)| (info.as_str(), block.heading.as_str(), block.line)).collect();
    assert_eq!(blocks, [("sh", "One", 3), ("sh not-run", "Two", 8)]);
    assert_eq!(found[0].1.commands, "a\nb\n");
}
