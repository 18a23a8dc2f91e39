//! Fifty events a second, as while many pipelines run: task runs of the grid's newest run, and the newest
//! runs of the pipelines that the list shows first.

use std::time::Duration;

use chrono::Utc;
use contract::events::{Observation, Record, Source};
use contract::state::{RunState, TaskState};
use platform::kafka::{KafkaConfig, Producer};

use crate::data::{ConsoleData, pipeline_name, run_name};

pub(crate) const EVENTS_PER_SECOND: u32 = 50;
const BATCHES_PER_SECOND: u32 = 10;
const BATCH: usize = (EVENTS_PER_SECOND / BATCHES_PER_SECOND) as usize;
/// The pipelines whose runs change: as many as the list shows at first.
const CHANGING_PIPELINES: u32 = 20;

/// Publishes until the task is aborted.
pub(crate) async fn publish(kafka: KafkaConfig, data: ConsoleData) -> anyhow::Result<()> {
    let producer = Producer::new(&kafka)?;
    let tasks = data.changing_tasks().await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / BATCHES_PER_SECOND);
    for turn in 0..u32::MAX {
        ticks.tick().await;
        let mut records = Vec::new();
        for place in 0..BATCH {
            let version =
                sqlx::query_scalar("select nextval('observation_version')").fetch_one(&data.db).await?;
            let observation = Observation { version, at: Utc::now() };
            // One of five events is a run's.
            records.push(if place == 0 {
                run(&data.source, turn, observation)?
            } else {
                let number = turn as usize * BATCH + place;
                let is_running = (number / tasks.len()).is_multiple_of(2);
                task_run(&data.source, &tasks[number % tasks.len()], is_running, observation)?
            });
        }
        producer.send(&records).await?;
    }
    Ok(())
}

fn run(source: &Source, turn: u32, observation: Observation) -> anyhow::Result<Record> {
    // The first two pipelines have the runs that the pages of the benchmark show.
    let pipeline = pipeline_name(2 + turn % CHANGING_PIPELINES);
    let is_running = (turn / CHANGING_PIPELINES).is_multiple_of(2);
    let status = if is_running { RunState::Running } else { RunState::Success };
    let mut event = testkit::events::run(source, &pipeline, &run_name(0), status, observation);
    let started_at = Utc::now() - chrono::Duration::minutes(1);
    (event.run_after, event.queued_at, event.started_at) =
        (Some(started_at), Some(started_at), Some(started_at));
    if !is_running {
        event.ended_at = Some(Utc::now());
        event.duration_seconds = Some(60.0);
    }
    Ok(Record::of(&event)?)
}

fn task_run(
    source: &Source,
    task: &str,
    is_running: bool,
    observation: Observation,
) -> anyhow::Result<Record> {
    let status = if is_running { TaskState::Running } else { TaskState::Queued };
    let (pipeline, run) = (pipeline_name(0), run_name(0));
    let place = (pipeline.as_str(), run.as_str(), task, -1);
    let mut event = testkit::events::task_run(source, place, status, observation);
    event.queued_at = Some(Utc::now());
    Ok(Record::of(&event)?)
}
