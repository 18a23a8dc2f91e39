//! The events of the golden messages of version 1: one of every type, with every field set. A field that is
//! added to an event gets its default here, because the golden messages lack it.

use chrono::{DateTime, Utc};
use contract::events::{
    Acknowledgement, CommentChanged, GovernanceChanged, IncidentChanged, PipelineObserved, RunObserved,
    SyncChanged, SyncReport, SyncRequested, TaskNode, TaskRunObserved, TeamRef, UserRef,
};
use contract::ids::{
    CommentId, ConnectorId, IncidentId, PipelineId, RunId, SyncId, TaskRunId, TeamId, UserId,
};
use contract::state::{
    Criticality, IncidentKind, IncidentStatus, RunState, RunType, SyncStatus, SyncTrigger, TaskState,
};
use serde_json::json;
use uuid::Uuid;

const CONNECTOR: ConnectorId = ConnectorId(Uuid::from_u128(0x0198_3c1d_9a40_7000_8000_0000_0000_0001));
const SYNC: SyncId = SyncId(Uuid::from_u128(0x0198_3c1d_9a40_7000_8000_0000_0000_0002));
const PIPELINE: &str = "daily_sales";
const RUN: &str = "manual__2026-03-01T05:00:00+00:00";
const PAGE: &str = "https://airflow.example/dags/daily_sales";

fn ada() -> UserRef {
    UserRef { id: UserId(Uuid::from_u128(0x0198_3c1d_9a40_7000_8000_0000_0000_0003)), name: "Ada".to_owned() }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// A time of 1 March 2026, in UTC.
fn at(time: &str) -> DateTime<Utc> {
    format!("2026-03-01T{time}Z").parse().unwrap()
}

pub(crate) fn pipeline() -> PipelineObserved {
    let node = |task: &str, upstream: &[&str], downstream: &[&str]| TaskNode {
        task_id: text(task),
        operator: Some(text("SQLExecuteQueryOperator")),
        upstream: upstream.iter().map(|task| text(task)).collect(),
        downstream: downstream.iter().map(|task| text(task)).collect(),
    };
    PipelineObserved {
        id: PipelineId::of(CONNECTOR, PIPELINE),
        space: text("finance"),
        connector_id: CONNECTOR,
        provider: text("airflow"),
        external_id: text(PIPELINE),
        version: 4711,
        observed_at: at("05:10:00.250"),
        deleted: false,
        provider_status: None,
        name: text("Daily sales"),
        description: Some(text("Sums yesterday's sales by shop.")),
        owner: Some(text("ada")),
        owners: vec![text("ada"), text("bob")],
        tags: vec![text("finance"), text("sales")],
        schedule: Some(text("0 5 * * *")),
        is_paused: false,
        is_active: true,
        external_url: Some(text(PAGE)),
        next_run_at: Some(at("23:30:00")),
        provider_metadata: json!({ "dag_id": PIPELINE, "fileloc": "/dags/sales.py", "max_active_runs": 16 }),
        tasks: vec![node("extract", &[], &["load"]), node("load", &["extract"], &[])],
        first_seen_at: at("04:00:00"),
    }
}

pub(crate) fn run() -> RunObserved {
    RunObserved {
        id: RunId::of(CONNECTOR, PIPELINE, RUN),
        space: text("finance"),
        connector_id: CONNECTOR,
        provider: text("airflow"),
        external_id: text(RUN),
        version: 4712,
        observed_at: at("05:10:00.375125"),
        deleted: false,
        pipeline_id: PipelineId::of(CONNECTOR, PIPELINE),
        pipeline_external_id: text(PIPELINE),
        status: RunState::Failed,
        provider_status: Some(text("failed")),
        run_type: RunType::Manual,
        logical_date: Some(at("05:00:00")),
        data_interval_start: Some(at("00:00:00")),
        data_interval_end: Some(at("05:00:00")),
        run_after: Some(at("05:00:00")),
        queued_at: Some(at("05:00:00.5")),
        started_at: Some(at("05:00:02.25")),
        ended_at: Some(at("05:09:12.75")),
        duration_seconds: Some(550.5),
        conf: json!({ "region": "north", "days": 1 }).into(),
        conf_bytes: None,
        truncated: false,
        note: Some(text("The warehouse was away.")),
        triggered_by: Some(ada()),
        external_url: Some(format!("{PAGE}/runs/{RUN}")),
    }
}

pub(crate) fn task_run() -> TaskRunObserved {
    TaskRunObserved {
        id: TaskRunId::of(CONNECTOR, PIPELINE, RUN, "load", 2),
        space: text("finance"),
        connector_id: CONNECTOR,
        provider: text("airflow"),
        external_id: format!("{PIPELINE}/{RUN}/load/2"),
        version: 4713,
        observed_at: at("05:10:00.5"),
        deleted: false,
        pipeline_id: PipelineId::of(CONNECTOR, PIPELINE),
        pipeline_external_id: text(PIPELINE),
        run_id: RunId::of(CONNECTOR, PIPELINE, RUN),
        run_external_id: text(RUN),
        task_id: text("load"),
        map_index: 2,
        name: text("Load a shop"),
        operator: Some(text("SQLExecuteQueryOperator")),
        status: TaskState::UpstreamFailed,
        provider_status: Some(text("upstream_failed")),
        try_number: 1,
        max_tries: 2,
        queued_at: Some(at("05:08:00")),
        started_at: Some(at("05:08:01")),
        ended_at: Some(at("05:09:11.5")),
        duration_seconds: Some(70.5),
        pool: Some(text("default_pool")),
        queue: Some(text("default")),
        hostname: Some(text("worker-1.example")),
    }
}

pub(crate) fn sync() -> SyncChanged {
    SyncChanged {
        id: SYNC,
        space: text("finance"),
        connector_id: CONNECTOR,
        version: 3,
        observed_at: at("05:10:02"),
        status: SyncStatus::Failed,
        trigger: SyncTrigger::Manual,
        full: true,
        requested_by: Some(ada()),
        requested_at: at("05:09:59"),
        started_at: Some(at("05:10:00")),
        finished_at: Some(at("05:10:02")),
        error: Some(text("Airflow answered 503: try again when it is back.")),
        report: SyncReport {
            requests: 12,
            pipelines_seen: 40,
            runs_seen: 250,
            task_runs_seen: 1800,
            events_published: 7,
            pipelines_deactivated: 1,
            ..SyncReport::default()
        },
    }
}

pub(crate) fn governance() -> GovernanceChanged {
    GovernanceChanged {
        id: PipelineId::of(CONNECTOR, PIPELINE),
        space: text("finance"),
        connector_id: CONNECTOR,
        version: 4714,
        observed_at: at("06:00:00.125"),
        team: Some(TeamRef {
            id: TeamId(Uuid::from_u128(0x0198_3c1d_9a40_7000_8000_0000_0000_0004)),
            name: text("Finance data"),
        }),
        criticality: Some(Criticality::High),
        changed_by: Some(ada()),
    }
}

pub(crate) fn comment() -> CommentChanged {
    CommentChanged {
        id: CommentId(Uuid::from_u128(0x0198_3c1d_9a40_7000_8000_0000_0000_0005)),
        space: text("finance"),
        connector_id: CONNECTOR,
        version: 4715,
        observed_at: at("06:10:00"),
        deleted: false,
        target_type: text("task_run"),
        pipeline_id: Some(PipelineId::of(CONNECTOR, PIPELINE)),
        run_id: Some(RunId::of(CONNECTOR, PIPELINE, RUN)),
        task_run_id: Some(TaskRunId::of(CONNECTOR, PIPELINE, RUN, "load", 2)),
        incident_id: None,
        content: Some(text("Backfill is on its way")),
        author: ada(),
        edited: true,
        created_at: at("06:05:00"),
        updated_at: at("06:10:00"),
    }
}

pub(crate) fn incident() -> IncidentChanged {
    let pipeline = PipelineId::of(CONNECTOR, PIPELINE);
    let run = RunId::of(CONNECTOR, PIPELINE, RUN);
    IncidentChanged {
        id: IncidentId::of(pipeline.0, IncidentKind::Slow, &run.to_string()),
        space: text("finance"),
        connector_id: CONNECTOR,
        version: 4716,
        observed_at: at("06:20:00"),
        pipeline_id: Some(pipeline),
        pipeline_name: Some(text("Daily sales")),
        kind: IncidentKind::Slow,
        status: IncidentStatus::Resolved,
        opened_at: at("05:05:00"),
        acknowledged: Some(Acknowledgement { by: ada(), at: at("05:07:30") }),
        muted_until: Some(at("08:00:00")),
        resolved_at: Some(at("06:20:00")),
        count: 2,
        last_run_id: Some(run),
        summary: text("Daily sales has been running for 9 min; 95 % of its runs end within 4 min"),
        evidence: json!({ "elapsed_seconds": 550.5, "duration_p95_seconds": 240.0, "runs": 30 }),
    }
}

pub(crate) fn sync_request() -> SyncRequested {
    SyncRequested {
        id: SYNC,
        connector_id: CONNECTOR,
        full: true,
        accept_mass_deletion: true,
        space: text("finance"),
        observed_at: at("05:09:59"),
    }
}
