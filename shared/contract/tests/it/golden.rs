//! The events of the golden messages of version 1: one of every type, with every field set. A field that is
//! added to an event gets its default here, because the golden messages lack it.

use chrono::{DateTime, Utc};
use contract::events::{
    PipelineObserved, RunObserved, SyncChanged, SyncReport, SyncRequested, TaskNode, TaskRunObserved, UserRef,
};
use contract::ids::{ConnectorId, PipelineId, RunId, SyncId, TaskRunId, UserId};
use contract::state::{RunState, RunType, SyncStatus, SyncTrigger, TaskState};
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
        conf: json!({ "region": "north", "days": 1 }),
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
