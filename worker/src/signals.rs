//! Signals: pipelines that fail or whose runs are late or slow, and connectors that are stale. One worker at
//! a time compares what is seen now with the unresolved incidents, and opens, counts and resolves them.
//! `expectations` learns what is usual.

mod backtest;
mod incidents;
mod judgement;
mod staleness;
mod summary;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use contract::ids::{ConnectorId, IncidentId, RunId};
use contract::state::IncidentKind;
use platform::health::Heartbeat;
use platform::periodic::Periodic;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use backtest::{Backtest, JudgedRun};
pub use incidents::Transitions;
pub use judgement::{Excess, Sighting, judge};

use crate::metrics::record_incidents;
use crate::store::incidents::ObservedIncident;
use crate::store::signals::{
    self, FailingPipeline, FreshConnector, Occurrence, PolledConnector, WatchedRun, try_lock,
};

const INTERVAL: Duration = Duration::from_secs(10);
/// Advisory lock of the evaluating worker ("signal" in ASCII).
const LOCK: i64 = 0x7369_676e_616c;
/// How many rows of each kind an evaluation reads. While there are more, no incident is resolved.
const MAX_ROWS: i64 = 20_000;
/// Seconds until the next poll of a connector without a schedule.
const UNSCHEDULED_POLL_INTERVAL: f64 = 60.0;

/// What is wrong with a pipeline or a connector now.
struct Signal {
    incident: ObservedIncident,
    /// The runs or due times, each of which is counted once; none for what is counted otherwise.
    occurrences: Vec<Occurrence>,
}

/// All signals, by subject and kind.
type Signals = HashMap<(Uuid, IncidentKind), Signal>;

/// What an evaluation has found.
struct Evaluation {
    signals: Signals,
    /// The subjects whose incidents of a kind stay unresolved without a signal.
    unresolved: HashSet<(Uuid, IncidentKind)>,
    stale: HashSet<ConnectorId>,
    switched_off: HashSet<ConnectorId>,
    /// Whether everything was read.
    is_complete: bool,
}

/// Evaluates signals until stopped.
pub(crate) async fn run(pool: PgPool, heartbeat: Heartbeat, stop: CancellationToken) {
    let mut ticks = Periodic::new(INTERVAL, stop).with_heartbeat(heartbeat);
    while ticks.next().await {
        if let Err(error) = evaluate(&pool).await {
            tracing::warn!(%error, "signals not evaluated; retrying");
        }
    }
}

/// Evaluates all signals, and opens, counts and resolves incidents in one transaction. Does nothing while
/// another worker does it.
pub async fn evaluate(pool: &PgPool) -> sqlx::Result<Transitions> {
    let mut tx = pool.begin().await?;
    if !try_lock(&mut tx, LOCK).await? {
        return Ok(Transitions::default());
    }
    let evaluation = observe(&mut tx, Utc::now()).await?;
    let transitions = incidents::reconcile(&mut tx, &evaluation).await?;
    signals::delete_old(&mut *tx, MAX_ROWS).await?;
    tx.commit().await?;
    record_incidents(&transitions.unresolved, &transitions.opened);
    if !transitions.is_empty() {
        let (opened, resolved) = (transitions.opened.len(), transitions.resolved);
        tracing::info!(opened, counted = transitions.counted, resolved, "incidents changed");
    }
    Ok(transitions)
}

async fn observe(db: &mut PgConnection, now: DateTime<Utc>) -> sqlx::Result<Evaluation> {
    let mut signals = Signals::new();
    let connectors = signals::find_connectors(&mut *db, MAX_ROWS).await?;
    let (mut fresh, mut stale, mut switched_off) = (Vec::new(), HashSet::new(), HashSet::new());
    for connector in &connectors {
        if !connector.is_active {
            switched_off.insert(connector.id);
            continue;
        }
        match staleness::stale_at(connector.schedule.as_deref(), connector.good_at) {
            Some(at) if at < now => {
                stale.insert(connector.id);
                add(&mut signals, of_connector(connector, at), None);
            }
            _ => fresh.extend(fresh_connector(connector)),
        }
    }
    let watched = signals::find_watched(&mut *db, &fresh, MAX_ROWS).await?;
    for run in &watched {
        add_run(&mut signals, run, now);
    }
    let failing = signals::find_failing(&mut *db, MAX_ROWS).await?;
    failing.iter().for_each(|pipeline| add(&mut signals, of_failures(pipeline), None));
    let slow = signals::find_slow_finished(&mut *db, MAX_ROWS).await?;
    let is_complete =
        [connectors.len(), watched.len(), failing.len(), slow.len()].iter().all(|n| *n < MAX_ROWS as usize);
    let unresolved = slow.into_iter().map(|pipeline| (pipeline.0, IncidentKind::Slow)).collect();
    Ok(Evaluation { signals, unresolved, stale, switched_off, is_complete })
}

/// When a connector was seen; none before its first poll.
fn fresh_connector(connector: &PolledConnector) -> Option<FreshConnector> {
    let seen_at = connector.confirmed_at?;
    let poll_interval =
        staleness::poll_interval(connector.schedule.as_deref(), seen_at).unwrap_or(UNSCHEDULED_POLL_INTERVAL);
    Some(FreshConnector { id: connector.id, seen_at, poll_interval })
}

fn add_run(signals: &mut Signals, run: &WatchedRun, now: DateTime<Utc>) {
    let sighting = Sighting {
        is_due: run.is_due,
        due_at: run.due_at,
        started_at: run.started_at,
        seen_at: run.seen_at,
        poll_interval: run.poll_interval,
    };
    for excess in judge(&run.expected, &sighting) {
        let (summary, evidence) = summary::of_run(run, &excess);
        let (pipeline_id, kind) = (run.pipeline_id, excess.kind);
        let occurrence = occurrence_of(run.run_id.filter(|_| kind == IncidentKind::Slow), run.due_at);
        let incident = ObservedIncident {
            id: IncidentId::of(pipeline_id.0, kind, &occurrence),
            space_id: run.space_id,
            connector_id: run.connector_id,
            pipeline_id: Some(pipeline_id),
            kind,
            opened_at: now,
            count: 0,
            last_run_id: run.run_id,
            summary,
            evidence,
        };
        add(signals, incident, Some(Occurrence { pipeline_id, kind, occurrence }));
    }
}

/// What a signal is counted by: the run, or else the due time, which has no run yet when its start is late.
fn occurrence_of(run: Option<RunId>, due_at: DateTime<Utc>) -> String {
    run.map_or_else(|| due_at.timestamp_micros().to_string(), |run| run.to_string())
}

fn of_failures(pipeline: &FailingPipeline) -> ObservedIncident {
    let (summary, evidence) = summary::of_failures(pipeline);
    let (pipeline_id, kind) = (pipeline.pipeline_id, IncidentKind::Failing);
    ObservedIncident {
        id: IncidentId::of(pipeline_id.0, kind, &pipeline.first_failed_run_id.to_string()),
        space_id: pipeline.space_id,
        connector_id: pipeline.connector_id,
        pipeline_id: Some(pipeline_id),
        kind,
        opened_at: pipeline.first_failed_at,
        count: pipeline.failures,
        last_run_id: Some(pipeline.failed_run_id),
        summary,
        evidence,
    }
}

fn of_connector(connector: &PolledConnector, stale_at: DateTime<Utc>) -> ObservedIncident {
    let (summary, evidence) = summary::of_connector(connector, stale_at);
    let kind = IncidentKind::ConnectorStale;
    ObservedIncident {
        id: IncidentId::of(connector.id.0, kind, &connector.good_at.timestamp_micros().to_string()),
        space_id: connector.space_id,
        connector_id: connector.id,
        pipeline_id: None,
        kind,
        opened_at: stale_at,
        count: 1,
        last_run_id: None,
        summary,
        evidence,
    }
}

/// Adds a signal. Several runs of one pipeline and kind are one signal: the first opens the incident, and the
/// last describes it.
fn add(signals: &mut Signals, incident: ObservedIncident, occurrence: Option<Occurrence>) {
    let subject = incident.pipeline_id.map_or(incident.connector_id.0, |pipeline| pipeline.0);
    match signals.entry((subject, incident.kind)) {
        std::collections::hash_map::Entry::Vacant(entry) => {
            entry.insert(Signal { incident, occurrences: Vec::from_iter(occurrence) });
        }
        std::collections::hash_map::Entry::Occupied(mut entry) => {
            let signal = entry.get_mut();
            let (id, opened_at) = (signal.incident.id, signal.incident.opened_at);
            signal.incident = ObservedIncident { id, opened_at, ..incident };
            signal.occurrences.extend(occurrence);
        }
    }
}
