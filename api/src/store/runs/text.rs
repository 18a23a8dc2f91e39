//! Text in the run ids of a list. Most ids are those of scheduled runs: a word and a time, always in the same
//! form. An index has their days and minutes, which costs the writes much less than an index of trigrams,
//! which the other ids have.

use std::collections::BTreeSet;

use platform::db::{IS_OTHER_RUN_ID, IS_SCHEDULED_RUN_ID};
use sqlx::{Postgres, QueryBuilder};

use crate::store::page::push_contains;

/// The form of the ids of scheduled runs, in lower case. Each `n` is a digit.
const FORM: &[u8] = b"scheduled__20nn-nn-nntnn:nn:nn+00:00";

/// More days or minutes are not looked up in the index.
const MAX_LOOKED_UP: usize = 100;

/// The ids of scheduled runs in which a text can be.
#[derive(Debug, PartialEq)]
enum ScheduledIds {
    /// So many that no index finds them sooner.
    Many,
    /// Those that agree with one of these. There are none if the text is in no such id.
    Of(BTreeSet<KnownTime>),
}

/// What is known of the time in an id: its day and its minute are among these, or not restricted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KnownTime {
    days: Option<Vec<String>>,
    minutes: Option<Vec<String>>,
}

/// Adds the condition that run ids contain a text, in any case.
pub(super) fn push_run_id(sql: &mut QueryBuilder<Postgres>, text: &str) {
    let ScheduledIds::Of(times) = scheduled_ids_with(text) else {
        // PostgreSQL would expect as few runs as the other ids are. It knows nothing of a `case`.
        sql.push(" and case when ");
        push_match(sql, text);
        sql.push(" then true else false end");
        return;
    };
    sql.push(" and ");
    push_match(sql, text);
    // The two indexes have these conditions.
    sql.push(format_args!(" and ({IS_OTHER_RUN_ID}"));
    for KnownTime { days, minutes } in times {
        sql.push(format_args!(" or {IS_SCHEDULED_RUN_ID}"));
        for parts in [days, minutes].into_iter().flatten() {
            sql.push(
                r#" and (array[substr(external_id, 12, 10), substr(external_id, 22, 6)] collate "C") && "#,
            )
            .push_bind(parts);
        }
    }
    sql.push(")");
}

/// Adds the condition in the expression of the index of trigrams.
fn push_match(sql: &mut QueryBuilder<Postgres>, text: &str) {
    sql.push(r#"lower(r.external_id collate "und-x-icu")"#);
    push_contains(sql, text);
}

fn scheduled_ids_with(text: &str) -> ScheduledIds {
    let text = text.to_lowercase();
    let mut times = BTreeSet::new();
    for start in 0..=FORM.len().saturating_sub(text.len()) {
        let Some(known) = place(&text, start) else {
            continue;
        };
        let time = KnownTime { days: days(&known), minutes: minutes(&known) };
        if time == (KnownTime { days: None, minutes: None }) {
            return ScheduledIds::Many;
        }
        times.insert(time);
    }
    ScheduledIds::Of(times)
}

/// Returns the characters of an id that has the text at this place; none if no id has it there.
fn place(text: &str, start: usize) -> Option<Vec<Option<u8>>> {
    let mut known = vec![None; FORM.len()];
    for (index, character) in text.bytes().enumerate() {
        let fits = match FORM.get(start + index)? {
            b'n' => character.is_ascii_digit(),
            fixed => character == *fixed,
        };
        if !fits {
            return None;
        }
        known[start + index] = Some(character);
    }
    Some(known)
}

/// Returns the days that agree with the known characters, unless there are too many.
fn days(known: &[Option<u8>]) -> Option<Vec<String>> {
    let [years, months, days] = [13..15, 16..18, 19..21].map(|place| numbers(&known[place]));
    let is_few = years.len() * months.len() * days.len() <= MAX_LOOKED_UP;
    is_few.then(|| joined(&joined(&years, "20", "-", &months), "", "-", &days))
}

/// Returns the minutes that agree with the known characters, unless there are too many. Each begins with a
/// `T`, because days and minutes are in one index.
fn minutes(known: &[Option<u8>]) -> Option<Vec<String>> {
    let [hours, minutes] = [22..24, 25..27].map(|place| numbers(&known[place]));
    let is_few = hours.len() * minutes.len() <= MAX_LOOKED_UP;
    is_few.then(|| joined(&hours, "T", ":", &minutes))
}

/// Returns the numbers of two digits that agree with the known ones. Not all of them are months or hours, but
/// the form of an id does not tell.
fn numbers(known: &[Option<u8>]) -> Vec<String> {
    let agrees =
        |number: &String| number.bytes().zip(known).all(|(digit, known)| known.unwrap_or(digit) == digit);
    (0..100).map(|number| format!("{number:02}")).filter(agrees).collect()
}

/// Returns each of the former with each of the latter, after a prefix.
fn joined(former: &[String], prefix: &str, separator: &str, latter: &[String]) -> Vec<String> {
    let with_latter = |one| latter.iter().map(move |two| format!("{prefix}{one}{separator}{two}"));
    former.iter().flat_map(with_latter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 3] = [
        "scheduled__2024-02-29T07:15:00+00:00",
        "scheduled__2020-12-31T23:59:59+00:00",
        "scheduled__2000-99-00T99:00:98+00:00",
    ];

    fn of(days: &[&str], minutes: &[&str]) -> ScheduledIds {
        let owned =
            |parts: &[&str]| (!parts.is_empty()).then(|| parts.iter().map(|&part| part.to_owned()).collect());
        ScheduledIds::Of([KnownTime { days: owned(days), minutes: owned(minutes) }].into())
    }

    #[test]
    fn every_part_of_an_id_finds_it() {
        for id in IDS {
            let (day, minute) = (id[11..21].to_owned(), id[21..27].to_owned());
            for (from, to) in (0..id.len()).flat_map(|from| (from + 1..=id.len()).map(move |to| (from, to))) {
                let text = &id[from..to];
                if let ScheduledIds::Of(times) = scheduled_ids_with(text) {
                    let found = times.iter().any(|KnownTime { days, minutes }| {
                        days.as_ref().is_none_or(|days| days.contains(&day))
                            && minutes.as_ref().is_none_or(|minutes| minutes.contains(&minute))
                    });
                    assert!(found, "{text} does not find {id}: {times:?}");
                }
            }
        }
    }

    #[test]
    fn days_and_minutes_are_looked_up() {
        assert_eq!(scheduled_ids_with("T07:15"), of(&[], &["T07:15"]));
        assert_eq!(scheduled_ids_with("2024-02-29"), of(&["2024-02-29"], &[]));
        assert_eq!(scheduled_ids_with("2024-02-29t07:15"), of(&["2024-02-29"], &["T07:15"]));
    }

    #[test]
    fn text_of_many_ids_is_not_looked_up() {
        for text in ["scheduled", "d__20", "+00:00", "7", "00", ":59", "-02-3", ""] {
            assert_eq!(scheduled_ids_with(text), ScheduledIds::Many, "{text}");
        }
    }

    #[test]
    fn other_text_is_in_no_id_of_a_scheduled_run() {
        for text in ["zzz", "manual", "scheduled__1999", "2024-1x", "07:15 ", "00:00.5", "٣", &"0".repeat(99)]
        {
            assert_eq!(scheduled_ids_with(text), ScheduledIds::Of(BTreeSet::new()), "{text}");
        }
    }
}
