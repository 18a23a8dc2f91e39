//! What a migration may not say, as `migrations/README.md` tells it: nothing that rewrites a large table,
//! locks it for long, or takes away what the version before needs, unless a reason is given.

use super::statements::{Statement, statements};
use super::{MIGRATIONS, released};

/// Too large to be locked while they are read through.
const LARGE: [&str; 6] = ["runs", "task_runs", "syncs", "comments", "triggers", "pipelines"];
const ALLOWED: &str = "-- allowed: ";
const NO_TRANSACTION: &str = "-- no-transaction";

#[test]
fn no_migration_after_the_release_is_in_anybodys_way() {
    let wrong: Vec<String> = MIGRATIONS
        .iter()
        .filter(|migration| migration.version > released())
        .flat_map(|migration| {
            let said = faults(migration.sql.as_str()).into_iter();
            said.map(|fault| format!("{:04}: {fault}", migration.version))
        })
        .collect();
    assert!(wrong.is_empty(), "see migrations/README.md\n{}", wrong.join("\n"));
}

/// What is wrong with a migration, a sentence each.
fn faults(sql: &str) -> Vec<String> {
    let found = statements(sql);
    let made: Vec<&str> = found
        .iter()
        .filter_map(|found| found.text.strip_prefix("create table ")?.split([' ', '(']).next())
        .collect();
    let mut faults: Vec<String> = found
        .iter()
        .filter(|found| !found.comment.lines().any(|line| line.starts_with(ALLOWED)))
        .filter_map(|found| {
            let fault = fault(found, &made)?;
            let beginning: String = found.text.chars().take(80).collect();
            Some(format!("{fault}: {beginning}"))
        })
        .collect();
    let concurrently = found.iter().any(|found| found.text.contains(" concurrently "));
    match (sql.starts_with(NO_TRANSACTION), concurrently) {
        (true, _) if found.len() != 1 => {
            faults.push("without a transaction there is one statement alone".to_owned());
        }
        (true, true) if !found[0].text.contains(" exists ") => {
            faults.push("what is tried again says `if exists` or `if not exists`".to_owned());
        }
        (false, true) => faults.push(format!("`concurrently` needs `{NO_TRANSACTION}` in the first line")),
        _ => {}
    }
    faults
}

fn fault(found: &Statement, made: &[&str]) -> Option<&'static str> {
    let text = found.text.as_str();
    let words: Vec<&str> = text.split([' ', '(', ',']).filter(|word| !word.is_empty()).collect();
    let says = |phrase: &str| format!(" {text} ").contains(&format!(" {phrase} "));
    let begins = |phrase: &str| text.starts_with(phrase);
    let after = |word: &str| {
        let place = words.iter().position(|other| *other == word)?;
        words[place + 1..].iter().find(|word| !["only", "if", "exists", "not", "table"].contains(word))
    };
    let is_large = |table: Option<&&str>| {
        table.is_some_and(|table| {
            let name = table.trim_start_matches("public.");
            LARGE.contains(&name) && !made.contains(&name)
        })
    };
    let of_large_index = || {
        LARGE.iter().any(|table| after("index").is_some_and(|name| name.starts_with(&format!("{table}_"))))
    };
    if (begins("create index") || begins("create unique index"))
        && !says("concurrently")
        && is_large(after("on"))
    {
        return Some("an index of a large table is made `concurrently`");
    }
    if begins("drop index") && !says("concurrently") && of_large_index() {
        return Some("an index of a large table is dropped `concurrently`");
    }
    if begins("reindex") && !says("concurrently") {
        return Some("an index is made again `concurrently`");
    }
    if begins("drop ") && !begins("drop index") && !begins("drop trigger if exists") {
        return Some("the version before may still need it");
    }
    if (begins("update ") && is_large(after("update"))) || (begins("delete ") && is_large(after("from"))) {
        return Some("a large table is changed by the worker, in batches");
    }
    if ["truncate", "lock ", "cluster", "vacuum full"].iter().any(|phrase| begins(phrase)) {
        return Some("it locks a whole table");
    }
    begins("alter table ").then(|| altered(text, is_large(after("table")))).flatten()
}

fn altered(text: &str, large: bool) -> Option<&'static str> {
    let says = |phrase: &str| text.contains(phrase);
    // Each action is a rule of its own: a default beside one column excuses no other.
    for action in text.split(", add ").flat_map(|part| part.split(", alter ")) {
        let adds_column =
            says("add column") && (action.contains("add column") || action.starts_with("column"));
        if adds_column && action.contains("not null") && !action.contains(" default ") {
            return Some("the version before does not fill the column");
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
    if says(" drop column ") || says(" rename ") || says(" drop constraint ") && says("primary") {
        return Some("the version before may still need it");
    }
    if says(" type ") && says("alter column") {
        return Some("another type rewrites the table, and the version before expects the old one");
    }
    if says(" set not null") && large {
        return Some("the whole table is read under a lock");
    }
    if says(" add constraint ") && large && !says(" not valid") && !says(" using index ") {
        return Some("the whole table is read under a lock");
    }
    (says(" set unlogged") || says(" set logged") || says(" set tablespace"))
        .then_some("it rewrites the table")
}

#[test]
fn what_would_be_in_the_way_is_refused() {
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
fn what_is_in_nobodys_way_is_not() {
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
        "-- No reader is left.\n-- allowed: unused since the release before\n\
         alter table runs drop column note",
    ] {
        assert_eq!(faults(sql), Vec::<String>::new(), "{sql}");
    }
}
