//! Proptest strategies for events with arbitrary field values. Each strategy starts from the golden event and
//! lists the fields that vary.

use chrono::{DateTime, Utc};
use contract::events::{
    Acknowledgement, CommentChanged, GovernanceChanged, IncidentChanged, PipelineObserved, RunObserved,
    SyncChanged, SyncReport, SyncRequested, TaskNode, TaskRunObserved, TeamRef, UserRef,
};
use contract::ids::{CommentId, IncidentId, PipelineId, RunId, SyncId, TaskRunId, TeamId, UserId};
use contract::state::{
    Criticality, IncidentKind, IncidentStatus, RunState, RunType, SyncStatus, SyncTrigger, TaskState,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use uuid::Uuid;

use super::golden;

fn text() -> BoxedStrategy<String> {
    any::<String>().boxed()
}

fn id() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

/// Times until the year 9999, which is the last one of RFC 3339.
fn time() -> impl Strategy<Value = DateTime<Utc>> {
    (0..253_402_300_799_999_999_i64).prop_map(|at| DateTime::from_timestamp_micros(at).unwrap())
}

fn object() -> impl Strategy<Value = Value> {
    vec(
        (
            text(),
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), text().prop_map(Value::from)],
        ),
        0..4,
    )
    .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn user() -> impl Strategy<Value = Option<UserRef>> {
    of((id(), text()).prop_map(|(id, name)| UserRef { id: UserId(id), name }))
}

fn nodes() -> impl Strategy<Value = Vec<TaskNode>> {
    let node = (text(), of(text()), vec(text(), 0..3), vec(text(), 0..3));
    let node = node.prop_map(|(task_id, operator, upstream, downstream)| TaskNode {
        task_id,
        operator,
        upstream,
        downstream,
    });
    vec(node, 0..4)
}

pub(crate) fn pipeline() -> impl Strategy<Value = PipelineObserved> {
    let texts = (text(), text(), vec(text(), 0..3), vec(text(), 0..3));
    let optional = [of(text()), of(text()), of(text()), of(text()), of(text())];
    let rest = (of(time()), time(), object(), nodes(), any::<[bool; 3]>());
    (id(), 0..i64::MAX, texts, optional, rest).prop_map(|(id, version, texts, optional, rest)| {
        let (name, external_id, owners, tags) = texts;
        let [description, owner, schedule, external_url, provider_status] = optional;
        let (next_run_at, observed_at, provider_metadata, tasks, [deleted, is_paused, is_active]) = rest;
        PipelineObserved {
            id: PipelineId(id),
            version,
            observed_at,
            deleted,
            provider_status,
            external_id,
            name,
            description,
            owner,
            owners,
            tags,
            schedule,
            is_paused,
            is_active,
            external_url,
            next_run_at,
            provider_metadata,
            tasks,
            first_seen_at: observed_at,
            ..golden::pipeline()
        }
    })
}

#[expect(clippy::too_many_lines, reason = "one line per field of the event")]
pub(crate) fn run() -> impl Strategy<Value = RunObserved> {
    use RunState::{Failed, Queued, Running, Success, Unknown};
    let enums = (
        select(vec![Queued, Running, Success, Failed, Unknown]),
        select(vec![
            RunType::Scheduled,
            RunType::Manual,
            RunType::Backfill,
            RunType::AssetTriggered,
            RunType::Unknown,
        ]),
    );
    let times = (time(), vec(of(time()), 7));
    let optional = [of(text()), of(text()), of(text())];
    let rest = (of(any::<f64>()), object(), user(), any::<bool>());
    (id(), 0..i64::MAX, text(), enums, times, optional, rest).prop_map(
        |(id, version, external_id, (status, run_type), (observed_at, times), optional, rest)| {
            let [provider_status, note, external_url] = optional;
            let (duration_seconds, conf, triggered_by, deleted) = rest;
            RunObserved {
                id: RunId(id),
                external_id,
                version,
                observed_at,
                deleted,
                status,
                provider_status,
                run_type,
                logical_date: times[0],
                data_interval_start: times[1],
                data_interval_end: times[2],
                run_after: times[3],
                queued_at: times[4],
                started_at: times[5],
                ended_at: times[6],
                duration_seconds,
                conf: conf.into(),
                note,
                triggered_by,
                external_url,
                ..golden::run()
            }
        },
    )
}

#[expect(clippy::too_many_lines, reason = "one line per field of the event")]
pub(crate) fn task_run() -> impl Strategy<Value = TaskRunObserved> {
    let states = vec![
        TaskState::Pending,
        TaskState::Scheduled,
        TaskState::Queued,
        TaskState::Running,
        TaskState::Success,
        TaskState::Failed,
        TaskState::Retrying,
        TaskState::Skipped,
        TaskState::UpstreamFailed,
        TaskState::Deferred,
        TaskState::Removed,
        TaskState::Unknown,
    ];
    let texts = [text(), text(), text()];
    let optional = [of(text()), of(text()), of(text()), of(text()), of(text())];
    let rest = (time(), vec(of(time()), 3), of(any::<f64>()), any::<[i32; 3]>(), any::<bool>());
    (id(), 0..i64::MAX, texts, select(states), optional, rest).prop_map(
        |(id, version, texts, status, optional, rest)| {
            let [external_id, task_id, name] = texts;
            let [provider_status, operator, pool, queue, hostname] = optional;
            let (observed_at, times, duration_seconds, [map_index, try_number, max_tries], deleted) = rest;
            TaskRunObserved {
                id: TaskRunId(id),
                external_id,
                version,
                observed_at,
                deleted,
                task_id,
                map_index,
                name,
                operator,
                status,
                provider_status,
                try_number,
                max_tries,
                queued_at: times[0],
                started_at: times[1],
                ended_at: times[2],
                duration_seconds,
                pool,
                queue,
                hostname,
                ..golden::task_run()
            }
        },
    )
}

#[expect(clippy::too_many_lines, reason = "one line per field of the event")]
pub(crate) fn sync() -> impl Strategy<Value = SyncChanged> {
    use SyncStatus::{Failed, Queued, Running, Succeeded};
    let status = select(vec![Queued, Running, Succeeded, Failed]);
    let trigger = select(vec![SyncTrigger::Schedule, SyncTrigger::Manual, SyncTrigger::Trigger]);
    let times = ([time(), time()], [of(time()), of(time())]);
    let rest = (user(), of(text()), any::<[u64; 6]>(), any::<bool>());
    (id(), 0..i64::MAX, status, trigger, times, rest).prop_map(
        |(id, version, status, trigger, times, rest)| {
            let ([observed_at, requested_at], [started_at, finished_at]) = times;
            let (requested_by, error, counts, full) = rest;
            let [
                requests,
                pipelines_seen,
                runs_seen,
                task_runs_seen,
                events_published,
                pipelines_deactivated,
            ] = counts;
            SyncChanged {
                id: SyncId(id),
                version,
                observed_at,
                status,
                trigger,
                full,
                requested_by,
                requested_at,
                started_at,
                finished_at,
                error,
                report: SyncReport {
                    requests,
                    pipelines_seen,
                    runs_seen,
                    task_runs_seen,
                    events_published,
                    pipelines_deactivated,
                    ..golden::sync().report
                },
                ..golden::sync()
            }
        },
    )
}

pub(crate) fn governance() -> impl Strategy<Value = GovernanceChanged> {
    use Criticality::{Critical, High, Low, Medium};
    let team = of((id(), text()).prop_map(|(id, name)| TeamRef { id: TeamId(id), name }));
    let criticality = of(select(vec![Low, Medium, High, Critical]));
    (id(), 0..i64::MAX, time(), team, criticality, user()).prop_map(
        |(id, version, observed_at, team, criticality, changed_by)| GovernanceChanged {
            id: PipelineId(id),
            version,
            observed_at,
            team,
            criticality,
            changed_by,
            ..golden::governance()
        },
    )
}

pub(crate) fn comment() -> impl Strategy<Value = CommentChanged> {
    let ids = [of(id()), of(id()), of(id()), of(id())];
    let rest = (of(text()), ids, any::<[bool; 2]>());
    (id(), 0..i64::MAX, [time(), time(), time()], rest).prop_map(|(id, version, times, rest)| {
        let ([observed_at, created_at, updated_at], (content, ids, [deleted, edited])) = (times, rest);
        let [pipeline, run, task_run, incident] = ids;
        CommentChanged {
            id: CommentId(id),
            version,
            observed_at,
            deleted,
            pipeline_id: pipeline.map(PipelineId),
            run_id: run.map(RunId),
            task_run_id: task_run.map(TaskRunId),
            incident_id: incident.map(IncidentId),
            content,
            edited,
            created_at,
            updated_at,
            ..golden::comment()
        }
    })
}

pub(crate) fn incident() -> impl Strategy<Value = IncidentChanged> {
    use IncidentStatus::{Acknowledged, Open, Resolved};
    let kinds = vec![IncidentKind::Failing, IncidentKind::LateStart, IncidentKind::ConnectorStale];
    let enums = (select(kinds), select(vec![Open, Acknowledged, Resolved]));
    let times = ([time(), time()], [of(time()), of(time())]);
    let rest = ([of(id()), of(id())], of(text()), text(), object(), user());
    (id(), 0..i64::MAX, 1..i32::MAX, enums, times, rest).prop_map(
        |(id, version, count, (kind, status), times, rest)| {
            let ([observed_at, opened_at], [muted_until, resolved_at]) = times;
            let ([pipeline, run], pipeline_name, summary, evidence, user) = rest;
            IncidentChanged {
                id: IncidentId(id),
                version,
                observed_at,
                pipeline_id: pipeline.map(PipelineId),
                pipeline_name,
                kind,
                status,
                opened_at,
                acknowledged: user.map(|by| Acknowledgement { by, at: opened_at }),
                muted_until,
                resolved_at,
                count,
                last_run_id: run.map(RunId),
                summary,
                evidence,
                ..golden::incident()
            }
        },
    )
}

pub(crate) fn sync_request() -> impl Strategy<Value = SyncRequested> {
    (id(), any::<[bool; 2]>(), text(), time()).prop_map(
        |(id, [full, accept_mass_deletion], space, observed_at)| SyncRequested {
            id: SyncId(id),
            full,
            accept_mass_deletion,
            space,
            observed_at,
            ..golden::sync_request()
        },
    )
}
