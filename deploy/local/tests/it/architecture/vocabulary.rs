//! Words that code and documents do not use, outside sentences for users. In code, a word counts in comments,
//! in the parts of an identifier (`is_told`, `BeTold`), and in the messages of log lines.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

use crate::checks::{files, rust_sources, text};

/// Words for a person or program that is not named. They count in documents, too.
const PERSON_WORDS: [&str; 6] = ["anybody", "nobody", "somebody", "someone", "told", "whoever"];
const WORDS: [&str; 12] = [
    "anybodys",
    "bell",
    "bury",
    "everybodys",
    "lend",
    "nobodys",
    "patience",
    "somebodys",
    "someones",
    "stands",
    "tells",
    "wish",
];
const PHRASES: [&str; 3] = ["for ever", "makes no sense", "worn_out"];
/// Former names, which have standard terms now.
const FORMER_NAMES: [&str; 57] = [
    "ABSENCES",
    "AccessMemory",
    "Asked",
    "Assigned",
    "BRAKE",
    "Begun",
    "Counted",
    "CriticalityWord",
    "Dead",
    "Extent",
    "Fault",
    "HONOURED",
    "Mood",
    "Named",
    "OURS",
    "Opening",
    "PATIENCE",
    "PLACED",
    "Pace",
    "Patience",
    "RESTLESS",
    "Ran",
    "Rest",
    "SILENCE",
    "Seat",
    "Sending",
    "Stage",
    "Standing",
    "TELLS",
    "TOLD",
    "TOO_OLD",
    "Taken",
    "Told",
    "TriggerWish",
    "Vitals",
    "Wish",
    "World",
    "Wrong",
    "absorb",
    "announce",
    "at_once",
    "await_room",
    "beat_at",
    "carry_out",
    "credentials_place",
    "find_out",
    "ghosts_beside",
    "greet",
    "led_by",
    "lively",
    "put_off",
    "read_doubtful_graphs",
    "refuse_rest",
    "settle",
    "settled_at",
    "take_seat",
    "zulu",
];
/// The beginning of former constants.
const MOST: &str = "MOST_";

/// Macros whose literals are not shown to users.
const LOG_MACROS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
/// Documentation that is published in `openapi.json` and in the event schemas, which stay as they are.
const PUBLISHED: [&str; 10] = [
    "#[schema(as = Wish)]",
    "#[schema(as = TriggerWish)]",
    "/// What somebody noted on it at the provider.",
    "/// Runs that the provider told of.",
    "/// Task runs that the provider told of.",
    "/// How it stands.",
    "/// How a run stands.",
    "/// How a sync stands.",
    "/// How a task run stands.",
    "/// The date that it stands for, in UTC.",
];
/// The path of this file, which contains the words.
const SELF: &str = "deploy/local/tests/it/architecture/vocabulary.rs";

/// The text with the content of string literals blanked, comments and line breaks kept.
fn without_strings(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (skipped, is_literal) = match first {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            '"' => (string_length(rest), true),
            'r' if rest.starts_with("r\"") || rest.starts_with("r#\"") => (raw_string_length(rest), true),
            '\'' => (character_length(rest), false),
            other if other.is_alphanumeric() || other == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_';
                (rest.find(|c| !is_part(c)).unwrap_or(rest.len()), false)
            }
            other => (other.len_utf8(), false),
        };
        let (token, after) = rest.split_at(skipped);
        if is_literal {
            kept.extend(token.chars().filter(|c| *c == '\n'));
        } else {
            kept.push_str(token);
        }
        rest = after;
    }
    kept
}

fn string_length(text: &str) -> usize {
    let mut is_escaped = true;
    for (index, character) in text.char_indices() {
        match character {
            '"' if !is_escaped => return index + 1,
            '\\' if !is_escaped => is_escaped = true,
            _ => is_escaped = false,
        }
    }
    text.len()
}

fn raw_string_length(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = 1 + hashes + 1;
    text[begin..].find(&end).map_or(text.len(), |index| begin + index + end.len())
}

/// The length of a character literal, or of a lifetime's tick.
fn character_length(text: &str) -> usize {
    let mut inside = text[1..].char_indices();
    let Some((_, first)) = inside.next() else { return 1 };
    if first == '\\' {
        return text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(1, |(index, _)| index + 3);
    }
    match inside.next() {
        Some((index, '\'')) => index + 2,
        _ => 1,
    }
}

/// The lower-case parts of the identifiers and words of a line.
fn parts(line: &str) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
        for part in word.split('_') {
            let mut begin = 0;
            for (index, character) in part.char_indices().skip(1) {
                let follows_lower = part[..index].chars().next_back().is_some_and(char::is_lowercase);
                if character.is_uppercase() && follows_lower {
                    parts.insert(part[begin..index].to_lowercase());
                    begin = index;
                }
            }
            parts.insert(part[begin..].to_lowercase());
        }
    }
    parts
}

/// Returns the words of a line, outside of string literals, that code does not use.
fn faults(line: &str) -> Vec<&'static str> {
    let (parts, lower) = (parts(line), line.to_lowercase());
    let code = line.split("//").next().unwrap_or_default();
    let identifiers: BTreeSet<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let words = PERSON_WORDS.into_iter().chain(WORDS).filter(|word| parts.contains(*word));
    let phrases = PHRASES.into_iter().filter(|phrase| contains_phrase(&lower, phrase));
    let names = FORMER_NAMES.into_iter().filter(|name| identifiers.contains(name));
    let most = identifiers.iter().any(|it| it.starts_with(MOST)).then_some(MOST);
    words.chain(phrases).chain(names).chain(most).collect()
}

/// Whether the phrase occurs and ends with a word: `for ever` does not occur in `for every`.
fn contains_phrase(line: &str, phrase: &str) -> bool {
    let mut found = line.match_indices(phrase);
    found.any(|(index, _)| !line[index + phrase.len()..].starts_with(char::is_alphanumeric))
}

/// The string literals of log lines.
#[derive(Default)]
struct InternalMessages(Vec<String>);

impl InternalMessages {
    fn add(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Literal(literal) if literal.to_string().starts_with('"') => {
                    self.0.push(literal.to_string())
                }
                TokenTree::Group(group) => self.add(group.stream()),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for InternalMessages {
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if LOG_MACROS.contains(&name.as_str()) {
            self.add(call.tokens.clone());
        }
        visit::visit_macro(self, call);
    }
}

#[test]
fn code_has_no_rejected_words() {
    let mut found = Vec::new();
    for (path, text) in rust_sources().into_iter().filter(|(path, _)| path != SELF) {
        let text_outside_strings = without_strings(&text);
        let lines = text_outside_strings.lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| !PUBLISHED.contains(&line.trim())) {
            let faults = faults(line).into_iter();
            found.extend(faults.map(|fault| format!("{path}:{}: {fault}", number + 1)));
        }
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut messages = InternalMessages::default();
        messages.visit_file(&file);
        for message in messages.0 {
            found.extend(faults(&message).into_iter().map(|fault| format!("{path}: {fault} in {message}")));
        }
    }
    assert!(found.is_empty(), "{} rejected words\n{}", found.len(), found.join("\n"));
}

#[test]
fn documents_have_no_person_words() {
    let mut found = Vec::new();
    let documents =
        files().into_iter().filter(|file| Path::new(file).extension().is_some_and(|it| it == "md"));
    for document in documents {
        for (number, line) in text(&document).lines().enumerate() {
            let words = parts(line);
            let faults = PERSON_WORDS.into_iter().filter(|word| words.contains(*word));
            found.extend(faults.map(|fault| format!("{document}:{}: {fault}", number + 1)));
        }
    }
    assert!(found.is_empty(), "{} rejected words\n{}", found.len(), found.join("\n"));
}

#[test]
fn words_are_found_in_comments_identifiers_and_log_lines() {
    assert_eq!(faults("fn is_told() {} // Whoever asks"), ["told", "whoever"]);
    assert_eq!(faults("struct BeTold;"), ["told"]);
    assert_eq!(faults("fn in_nobodys_way() {} // kept for ever"), ["nobodys", "for ever"]);
    assert_eq!(faults("struct Rest; // The Rest for every"), ["Rest"]);
    assert_eq!(faults("const MOST_BYTES: usize = 1;"), ["MOST_"]);
    assert_eq!(faults("let bellows = lender.wishes();"), [""; 0]);
    let text = "let told = \"nobody \\\" bury\"; // 'whoever' \"wish\"\nlet c = '\"'; \
                r#\"lend \"x\" told\"#;\n\"a\nb\"";
    assert_eq!(without_strings(text), "let told = ; // 'whoever' \"wish\"\nlet c = '\"'; ;\n\n");
    let file =
        syn::parse_file("fn f() { info!(id, \"lease lost\"); bail!(\"told\"); tracing::warn!(\"told\") }")
            .unwrap();
    let mut messages = InternalMessages::default();
    messages.visit_file(&file);
    assert_eq!(messages.0, ["\"lease lost\"", "\"told\""]);
}
