//! Splits a migration into statements, each on one line in lower case, with the comment before it.

/// A statement and the comment lines before it.
pub(super) struct Statement {
    pub comment: String,
    pub text: String,
}

/// Splits `sql` at its semicolons, except inside quotes and dollar quotes.
pub(super) fn statements(sql: &str) -> Vec<Statement> {
    let mut found = Vec::new();
    let (mut comment, mut text) = (String::new(), String::new());
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let length = match next {
            '-' if rest.starts_with("--") => {
                let line = rest.lines().next().unwrap_or_default();
                comment += line;
                comment.push('\n');
                line.len()
            }
            ';' => {
                push(&mut found, &mut comment, &mut text);
                1
            }
            _ => {
                let length = quoted_length(rest).unwrap_or(next.len_utf8());
                text += &rest[..length];
                length
            }
        };
        rest = &rest[length..];
    }
    push(&mut found, &mut comment, &mut text);
    found
}

/// Returns the length of the quoted text at the start of `rest`, quotes included. `None` if there is none.
fn quoted_length(rest: &str) -> Option<usize> {
    let quote = match rest.as_bytes() {
        [quote @ (b'\'' | b'"'), ..] => char::from(*quote).to_string(),
        [b'$', ..] => {
            let tag = rest[1..].find('$').map(|end| &rest[..end + 2])?;
            let is_tag = tag[1..tag.len() - 1].chars().all(|c| c.is_ascii_alphabetic() || c == '_');
            is_tag.then(|| tag.to_owned())?
        }
        _ => return None,
    };
    let inside = &rest[quote.len()..];
    Some(inside.find(&quote).map_or(rest.len(), |end| end + 2 * quote.len()))
}

fn push(found: &mut Vec<Statement>, comment: &mut String, text: &mut String) {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    if !words.is_empty() {
        found.push(Statement { comment: std::mem::take(comment), text: words.join(" ") });
    }
    text.clear();
}

#[test]
fn sql_is_split_into_statements_with_comments() {
    let sql = "-- first\ncreate table a (b text default 'x; -- y');\n\n-- second\n\
               create function f() as $$ begin; end; $$;\nselect\n  1";
    let found: Vec<_> = statements(sql).into_iter().map(|found| (found.comment, found.text)).collect();
    let expected = [
        ("-- first\n", "create table a (b text default 'x; -- y')"),
        ("-- second\n", "create function f() as $$ begin; end; $$"),
        ("", "select 1"),
    ];
    assert_eq!(found, expected.map(|(comment, text)| (comment.to_owned(), text.to_owned())));
}
