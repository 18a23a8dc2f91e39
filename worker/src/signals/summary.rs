//! The sentences of incidents, and the numbers that they are made of. They name pipelines and times; nothing
//! of a run's content.

use chrono::{DateTime, Utc};
use contract::state::IncidentKind;
use serde_json::{Value, json};

use super::judgement::Excess;
use crate::store::signals::{FailedTasks, FailingPipeline, PolledConnector, WatchedRun};

/// Describes a run that is slow or late.
pub(super) fn of_run(run: &WatchedRun, excess: &Excess) -> (String, Value) {
    let (name, expected) = (&run.pipeline_name, &run.expected);
    let (due, elapsed) = (time(run.due_at), duration(excess.elapsed));
    let summary = match excess.kind {
        IncidentKind::Slow => format!(
            "{name} has been running for {elapsed}; 95 % of its runs end within {}",
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
        1 => format!("{name} failed at {}{task}", time(pipeline.failed_at)),
        _ => format!(
            "{name} has failed {failures} times in a row since {}{task}",
            time(pipeline.first_failed_at)
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
    let summary = format!("Connector {name} has not been synced since {}", time(good_at));
    (summary, json!({ "last_good_at": good_at, "stale_at": stale_at, "schedule": connector.schedule }))
}

/// A time as people read it. The console shows it in the reader's time zone.
fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
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
    use chrono::{TimeZone, Utc};

    use super::{duration, time};

    #[test]
    fn times_are_written_for_people() {
        let at = Utc.with_ymd_and_hms(2026, 1, 31, 5, 0, 59).unwrap();
        assert_eq!(time(at), "2026-01-31 05:00 UTC");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        let texts = [0.4, 59.0, 60.0, 310.0, 3600.0, 12_000.0, 187_300.0].map(duration);
        assert_eq!(texts, ["0 s", "59 s", "1 min", "5 min 10 s", "1 h", "3 h 20 min", "2 d 4 h"]);
    }
}
