//! The sentences of incidents, and the numbers that they are made of. They name pipelines and times; nothing
//! of a run's content. They are in the past tense, because they are read after the end of an incident, too.

use chrono::{DateTime, NaiveDateTime, Utc};
use contract::state::IncidentKind;
use serde_json::{Value, json};

use super::judgement::Excess;
use crate::store::signals::{FailedTasks, FailingPipeline, PolledConnector, WatchedRun};

/// The zone of a schedule whose own is not known.
const UTC: &str = "UTC";

/// Describes a run that is slow or late.
pub(super) fn of_run(run: &WatchedRun, excess: &Excess) -> (String, Value) {
    let (name, expected) = (&run.pipeline_name, &run.expected);
    let (due, elapsed) = (time(run.due_clock, &run.zone), duration(excess.elapsed));
    let summary = match excess.kind {
        IncidentKind::Slow => format!(
            "{name} was still running after {elapsed}; 95 % of its runs end within {}",
            duration(expected.duration_p95)
        ),
        IncidentKind::LateStart => {
            format!("{name} was due at {due} and had not started {elapsed} later")
        }
        _ => format!(
            "{name} was due at {due} and had not ended {elapsed} later; it was expected within {}",
            duration(expected.finish_after)
        ),
    };
    let evidence = json!({
        "due_at": run.due_at, "started_at": run.started_at, "seen_at": run.seen_at,
        "elapsed_seconds": excess.elapsed, "limit_seconds": excess.limit,
        "duration_p50_seconds": expected.duration_p50, "duration_p95_seconds": expected.duration_p95,
        "class": expected.class, "runs": expected.learned_runs,
    });
    (summary, evidence)
}

/// Describes a pipeline whose latest finished run failed.
pub(super) fn of_failures(pipeline: &FailingPipeline) -> (String, Value) {
    let (name, failures) = (&pipeline.pipeline_name, pipeline.failures);
    let task = pipeline.tasks.first_failed_task.as_ref();
    let task =
        task.map_or_else(String::new, |task| format!("; the first task that failed is {}", task.task_id));
    let summary = match failures {
        1 => format!("{name} failed at {}{task}", time(pipeline.failed_clock, &pipeline.zone)),
        _ => format!(
            "{name} failed {failures} times in a row, first at {}{task}",
            time(pipeline.first_failed_clock, &pipeline.zone)
        ),
    };
    let FailedTasks { first_failed_task, failed_tasks, upstream_failed_tasks } = &pipeline.tasks;
    let evidence = json!({
        "failures": failures, "failed_at": pipeline.failed_at, "first_failed_at": pipeline.first_failed_at,
        "first_failed_run_id": pipeline.first_failed_run_id, "first_failed_task": first_failed_task,
        "failed_tasks": failed_tasks, "upstream_failed_tasks": upstream_failed_tasks,
    });
    (summary, evidence)
}

/// Describes a connector that has not been synced.
pub(super) fn of_connector(connector: &PolledConnector, stale_at: DateTime<Utc>) -> (String, Value) {
    let (name, good_at) = (&connector.name, connector.good_at);
    let good_clock = time(good_at.naive_utc(), UTC);
    let summary = format!("Connector {name} was not synced after {good_clock}");
    (summary, json!({ "last_good_at": good_at, "stale_at": stale_at, "schedule": connector.schedule }))
}

/// A time by the clock of a zone: `05:10 UTC on 1 March`, `06:10 on 1 March (Europe/Berlin)`. It has no year,
/// because an incident has the time when it was opened, and no `today`, because the sentence stays.
fn time(clock: NaiveDateTime, zone: &str) -> String {
    let (time, day) = (clock.format("%H:%M"), clock.format("%-d %B"));
    match zone {
        UTC => format!("{time} UTC on {day}"),
        _ => format!("{time} on {day} ({zone})"),
    }
}

/// Two units at most: `42 s`, `5 min 10 s`, `3 h 20 min`, `2 d 4 h`.
fn duration(seconds: f64) -> String {
    let total = seconds.max(0.0).round() as u64;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match total {
        0..60 => format!("{total} s"),
        60..3600 => two(total / 60, "min", total % 60, "s"),
        3600..86_400 => two(total / 3600, "h", total % 3600 / 60, "min"),
        _ => two(total / 86_400, "d", total % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::{duration, time};

    #[test]
    fn times_are_those_of_the_schedule_s_clock() {
        let clock = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap().and_hms_opt(6, 10, 59).unwrap();
        assert_eq!(time(clock, "UTC"), "06:10 UTC on 1 March");
        assert_eq!(time(clock, "Europe/Berlin"), "06:10 on 1 March (Europe/Berlin)");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let texts = [0.4, 59.0, 60.0, 310.0, 3600.0, 12_000.0, 187_300.0].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 min", "5 min 10 s", "1 h", "3 h 20 min", "2 d 4 h"]);
    }
}
