//! Unsafe code is in one file (`deploy/decisions/0017-one-file-of-unsafe-code.md`). The workspace denies it,
//! so that any other file would need an exception.

use crate::checks::rust_sources;

const ALLOWED: &str = "shared/platform/src/kafka/native.rs";

#[test]
fn only_one_file_has_unsafe_code_and_each_block_says_why_it_is_safe() {
    let lint = concat!("(", "unsafe_code");
    let mut exceptions = rust_sources();
    exceptions.retain(|(_, text)| text.contains(lint));
    let paths: Vec<&str> = exceptions.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, [ALLOWED]);
    let lines: Vec<&str> = exceptions[0].1.lines().collect();
    for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("unsafe {")) {
        let comment = lines[..number].iter().rev().take_while(|line| line.trim_start().starts_with("//"));
        let is_explained = comment.last().is_some_and(|first| first.trim_start().starts_with("// SAFETY: "));
        assert!(is_explained, "{ALLOWED}:{}: {line}", number + 1);
    }
}
