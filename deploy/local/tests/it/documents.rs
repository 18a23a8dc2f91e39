//! The documents as a reader takes them: shell blocks, which of them may be run, and the commands named in passing. What
//! the blocks do is tried by `walk`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::checks::{files, repository, run, text};

const PROGRAMS: [&str; 2] = ["orchestration-api", "orchestration-worker"];
/// What a fence may call a block of shell commands; we write `sh`.
const SHELLS: [&str; 5] = ["sh", "bash", "shell", "console", "zsh"];

/// A fenced block of shell commands.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub document: String,
    pub heading: String,
    pub line: usize,
    pub commands: String,
}

/// Every fenced block: what its fence says, and itself.
fn fenced() -> Vec<(String, Block)> {
    let documents = files().into_iter().filter(|file| file.ends_with(".md"));
    documents.flat_map(|document| fenced_in(&document, &text(&document))).collect()
}

fn fenced_in(document: &str, text: &str) -> Vec<(String, Block)> {
    let mut blocks = Vec::new();
    let mut heading = String::new();
    let mut open: Option<(String, Block)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(says)) => {
                let (document, heading) = (document.to_owned(), heading.clone());
                let block = Block { document, heading, line: number + 2, commands: String::new() };
                open = Some((says.trim().to_owned(), block));
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

/// The blocks that may be run, in the order in which they stand.
pub(crate) fn runnable() -> Vec<Block> {
    fenced().into_iter().filter(|(says, _)| says == "sh").map(|(_, block)| block).collect()
}

#[test]
fn every_shell_block_says_whether_it_is_run() {
    for (says, Block { document, line, .. }) in fenced() {
        let is_shell = says.split(' ').next().is_some_and(|it| SHELLS.contains(&it));
        let is_clear = !is_shell || says == "sh" || says == "sh not-run";
        assert!(is_clear, "{document}:{line}: write `sh` or `sh not-run` instead of `{says}`");
    }
}

#[test]
fn every_link_within_the_repository_leads_somewhere() {
    let files = files();
    let mut followed = 0;
    for document in files.iter().filter(|file| file.ends_with(".md")) {
        for target in links(&text(document)) {
            let path = target.split('#').next().unwrap_or_default();
            let here = Path::new(document).parent().unwrap();
            let found = path.is_empty() || repository().join(here).join(path).exists();
            assert!(found, "{document} leads to {target}, which is not there");
            followed += 1;
        }
    }
    assert!(followed > 10, "links are not found: {followed}");
}

/// Where a page's links lead, those to other sites left out.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

#[tokio::test]
async fn commands_that_are_named_in_passing_exist() {
    let programs = local::tested_binaries().await.unwrap();
    let mut named = BTreeSet::new();
    for document in files().into_iter().filter(|file| file.ends_with(".md")) {
        let text = text(&document);
        // Between single backticks stands what is odd.
        let spans = text.split('`').skip(1).step_by(2).map(str::to_owned);
        named.extend(spans);
    }
    let named: BTreeSet<Vec<&str>> = named
        .iter()
        .map(|span| words(span))
        .filter(|words| words.first().is_some_and(|it| PROGRAMS.contains(it)))
        .collect();
    assert!(named.contains(&vec!["orchestration-worker", "dead-letters", "list"]), "{named:?}");
    for words in named {
        let mut command = Command::new(programs.join(words[0]));
        run(command.args(&words[1..]).arg("--help"))
            .unwrap_or_else(|complaint| panic!("{words:?}: {complaint}"));
    }
}

/// A program and its subcommands, without what it is told besides.
fn words(span: &str) -> Vec<&str> {
    let is_word =
        |word: &&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
    span.split_whitespace().take_while(is_word).collect()
}

#[test]
fn blocks_are_found_with_their_headings() {
    let page = "# One\n```sh\na\nb\n```\n## Two\n```sh not-run\nc\n```\n";
    let found = fenced_in("page.md", page);
    let seen: Vec<_> =
        found.iter().map(|(says, block)| (says.as_str(), block.heading.as_str(), block.line)).collect();
    assert_eq!(seen, [("sh", "One", 3), ("sh not-run", "Two", 8)]);
    assert_eq!(found[0].1.commands, "a\nb\n");
}
