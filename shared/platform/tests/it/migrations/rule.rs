//! Statements that a migration must not contain, as `migrations/README.md` documents them: statements that
//! rewrite or lock a large table, or remove objects that the previous version uses. A comment with a reason
//! allows one.

use super::statements::{Statement, statements};
use super::{MIGRATIONS, released};

/// Tables that are too large to be locked during a scan.
const LARGE: [&str; 6] = ["runs", "task_runs", "syncs", "comments", "triggers", "pipelines"];
const ALLOWED: &str = "-- allowed: ";
const NO_TRANSACTION: &str = "-- no-transaction";

#[test]
fn unreleased_migrations_do_not_block_the_previous_version() {
    let wrong: Vec<String> = MIGRATIONS
        .iter()
        .filter(|migration| migration.version > released())
        .flat_map(|migration| {
            let faults = faults(migration.sql.as_str()).into_iter();
            faults.map(|fault| format!("{:04}: {fault}", migration.version))
        })
        .collect();
    assert!(wrong.is_empty(), "see migrations/README.md\n{}", wrong.join("\n"));
}

/// Returns one message for each rule that a migration breaks.
fn faults(sql: &str) -> Vec<String> {
    let found = statements(sql);
    let created: Vec<&str> = found
        .iter()
        .filter_map(|found| found.text.strip_prefix("create table ")?.split([' ', '(']).next())
        .collect();
    let mut faults: Vec<String> = found
        .iter()
        .filter(|found| !found.comment.lines().any(|line| line.starts_with(ALLOWED)))
        .filter_map(|found| {
            let fault = fault(found, &created)?;
            let beginning: String = found.text.chars().take(80).collect();
            Some(format!("{fault}: {beginning}"))
        })
        .collect();
    let concurrently = found.iter().any(|found| found.text.contains(" concurrently "));
    match (sql.starts_with(NO_TRANSACTION), concurrently) {
        (true, _) if found.len() != 1 => {
            faults.push("a migration without a transaction has exactly one statement".to_owned());
        }
        (true, true) if !found[0].text.contains(" exists ") => {
            faults.push("a statement that may be retried needs `if exists` or `if not exists`".to_owned());
        }
        (false, true) => faults.push(format!("`concurrently` needs `{NO_TRANSACTION}` in the first line")),
        _ => {}
    }
    faults
}

/// Returns the rule that a statement breaks, if any.
fn fault(found: &Statement, created: &[&str]) -> Option<&'static str> {
    let text = found.text.as_str();
    let words: Vec<&str> = text.split([' ', '(', ',']).filter(|word| !word.is_empty()).collect();
    let starts_with = |phrase: &str| text.starts_with(phrase);
    let after = |word: &str| {
        let index = words.iter().position(|other| *other == word)?;
        words[index + 1..].iter().find(|word| !["only", "if", "exists", "not", "table"].contains(word))
    };
    let is_large = |table: Option<&&str>| {
        let name = table.map(|table| table.trim_start_matches("public."));
        name.is_some_and(|name| LARGE.contains(&name) && !created.contains(&name))
    };
    if !format!(" {text} ").contains(" concurrently ") {
        let fault = blocking_index_fault(text, is_large(after("on")), after("index").copied());
        if fault.is_some() {
            return fault;
        }
    }
    if starts_with("drop ") && !starts_with("drop index") && !starts_with("drop trigger if exists") {
        return Some("the previous version may still use it");
    }
    if (starts_with("update ") && is_large(after("update")))
        || (starts_with("delete ") && is_large(after("from")))
    {
        return Some("a large table is changed by the worker, in batches");
    }
    if ["truncate", "lock ", "cluster", "vacuum full"].iter().any(|phrase| starts_with(phrase)) {
        return Some("it locks a whole table");
    }
    starts_with("alter table ").then(|| alter_table_fault(text, is_large(after("table")))).flatten()
}

/// Returns the rule that a statement without `concurrently` breaks, if it concerns an index.
fn blocking_index_fault(text: &str, is_of_large_table: bool, index: Option<&str>) -> Option<&'static str> {
    let starts_with = |phrase: &str| text.starts_with(phrase);
    let is_large_index =
        || LARGE.iter().any(|table| index.is_some_and(|name| name.starts_with(&format!("{table}_"))));
    if (starts_with("create index") || starts_with("create unique index")) && is_of_large_table {
        return Some("an index of a large table is created `concurrently`");
    }
    if starts_with("drop index") && is_large_index() {
        return Some("an index of a large table is dropped `concurrently`");
    }
    starts_with("reindex").then_some("an index is rebuilt `concurrently`")
}

/// Returns the rule that an `alter table` statement breaks, if any.
fn alter_table_fault(text: &str, large: bool) -> Option<&'static str> {
    let contains = |phrase: &str| text.contains(phrase);
    // Each action is checked by itself: the default of one column does not apply to another.
    for action in text.split(", add ").flat_map(|part| part.split(", alter ")) {
        let adds_column =
            contains("add column") && (action.contains("add column") || action.starts_with("column"));
        if adds_column && action.contains("not null") && !action.contains(" default ") {
            return Some("the previous version does not set the column");
        }
        let computed = ["(", "clock_timestamp", "nextval"].iter().any(|call| {
            action.split_once(" default ").is_some_and(|(_, default)| {
                default.split(" check ").next().is_some_and(|default| default.contains(call))
            })
        });
        if adds_column && large && (computed || action.contains("generated always")) {
            return Some("a value that is computed for each row rewrites the table");
        }
    }
    if contains(" drop column ")
        || contains(" rename ")
        || contains(" drop constraint ") && contains("primary")
    {
        return Some("the previous version may still use it");
    }
    if contains(" type ") && contains("alter column") {
        return Some("a new type rewrites the table, and the previous version expects the old one");
    }
    if contains(" set not null") && large {
        return Some("the whole table is scanned under a lock");
    }
    if contains(" add constraint ") && large && !contains(" not valid") && !contains(" using index ") {
        return Some("the whole table is scanned under a lock");
    }
    (contains(" set unlogged") || contains(" set logged") || contains(" set tablespace"))
        .then_some("it rewrites the table")
}

#[test]
fn blocking_statements_are_rejected() {
    for sql in [
        "create index runs_x on runs (status)",
        "create unique index x on public.task_runs (id, status)",
        "drop index runs_space",
        "drop index concurrently if exists runs_space",
        "alter table runs add column x int not null",
        "alter table teams add column x int not null",
        "alter table runs add column x uuid default gen_random_uuid()",
        "alter table runs add column x int not null default 0, add column y int not null",
        "alter table runs add column y bigint generated always as (version + 1) stored",
        "alter table runs alter column version type int",
        "alter table runs alter column note set not null",
        "alter table runs drop column note",
        "alter table runs rename column note to remark",
        "alter table teams rename to crews",
        "alter table runs add constraint x check (version > 0)",
        "drop table teams",
        "drop function run_metrics",
        "update runs set note = null",
        "delete from task_runs",
        "truncate run_counts",
        "lock table runs",
        "vacuum full runs",
        "reindex table runs",
        "-- no-transaction\ncreate index concurrently runs_x on runs (status)",
        "-- no-transaction\ncreate index concurrently if not exists runs_x on runs (status);\nselect 1",
        "-- Because.\ncreate index runs_x on runs (status)",
    ] {
        assert_eq!(faults(sql).len(), 1, "{sql}: {:?}", faults(sql));
    }
}

#[test]
fn harmless_statements_are_accepted() {
    for sql in [
        "create table x (id uuid primary key, run_id uuid not null); create index x_run on x (run_id)",
        "create index teams_x on teams (name)",
        "-- no-transaction\ncreate index concurrently if not exists runs_x on runs (status)",
        "-- no-transaction\ndrop index concurrently if exists runs_space",
        "alter table runs add column x int",
        "alter table runs add column x int not null default 0",
        "alter table runs add constraint x check (version > 0) not valid",
        "alter table runs validate constraint x",
        "alter table runs set (autovacuum_vacuum_scale_factor = 0.02)",
        "create function f() returns trigger language plpgsql as $$ begin delete from runs; end $$",
        "create trigger t after insert on runs for each statement execute function f()",
        "-- No reader is left.\n-- allowed: unused since the previous release\n\
         alter table runs drop column note",
    ] {
        assert_eq!(faults(sql), Vec::<String>::new(), "{sql}");
    }
}
