//! Size limits of Rust files and lines. Clippy's `too_many_lines` limits the length of functions.

use crate::checks::rust_sources;

const MAX_FILE_LINES: usize = 400;
const MAX_LINE_COLUMNS: usize = 110;

#[test]
fn no_file_has_more_than_400_lines() {
    let files = rust_sources();
    let long: Vec<String> = files
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_FILE_LINES)
        .map(|(path, lines)| format!("{path}: {lines}"))
        .collect();
    assert!(long.is_empty(), "files with more than {MAX_FILE_LINES} lines\n{}", long.join("\n"));
}

#[test]
fn no_line_has_more_than_110_columns() {
    let mut long = Vec::new();
    for (path, text) in rust_sources() {
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_LINE_COLUMNS {
                long.push(format!("{path}:{}: {columns}", number + 1));
            }
        }
    }
    assert!(
        long.is_empty(),
        "{} lines with more than {MAX_LINE_COLUMNS} columns\n{}",
        long.len(),
        long.join("\n")
    );
}
