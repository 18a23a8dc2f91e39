//! The replay of a pipeline's history: each run is judged by what was known when it began, and then becomes
//! known itself. The statements that learn and the judgement are those of the live evaluation.

use chrono::{DateTime, TimeDelta, Utc};
use contract::ids::PipelineId;
use contract::state::IncidentKind;
use sqlx::{Connection, PgConnection, PgPool};

use super::judgement::{Sighting, judge};
use crate::store::backtest::{self, PastRun, ReplayedPipeline};
use crate::store::expectations::{self, Expectation};

/// The runs of so many days before a replay are learned only.
const LEARNED_DAYS: i64 = 43;
/// What was learned stays in use for so long, unless a run was flagged or nothing is expected yet: learning
/// before every run would take most of the time.
const LEARNED_FOR: TimeDelta = TimeDelta::hours(6);
/// How many pipelines a backtest replays.
const MAX_PIPELINES: i64 = 100_000;

/// How a run of the past would have been judged.
#[derive(Clone, Debug)]
pub struct JudgedRun {
    pub run: PastRun,
    /// None while the pipeline was being learned.
    pub expected: Option<Expectation>,
    pub is_slow: bool,
    pub is_late_start: bool,
    pub is_late_finish: bool,
}

impl JudgedRun {
    /// Whether a signal of this kind would have been given.
    pub fn has(&self, kind: IncidentKind) -> bool {
        match kind {
            IncidentKind::Slow => self.is_slow,
            IncidentKind::LateStart => self.is_late_start,
            IncidentKind::LateFinish => self.is_late_finish,
            IncidentKind::Failing | IncidentKind::ConnectorStale => false,
        }
    }
}

/// A session with the tables of a backtest.
pub struct Backtest {
    db: PgConnection,
    /// Seconds between two polls.
    poll_interval: f64,
}

impl Backtest {
    /// Creates the tables, in a session of the owner of the schema; none while another backtest runs.
    pub async fn begin(pool: &PgPool, poll_interval: f64) -> sqlx::Result<Option<Self>> {
        let mut db = pool.acquire().await?.detach();
        if !backtest::try_begin(&mut db).await? {
            return Ok(None);
        }
        backtest::create_tables(&mut db).await?;
        Ok(Some(Self { db, poll_interval }))
    }

    /// Drops the tables. Those of a backtest that was stopped are dropped by the next one.
    pub async fn end(mut self) -> sqlx::Result<()> {
        backtest::drop_tables(&mut self.db).await?;
        self.db.close().await
    }

    /// Finds the pipelines that have runs since this time.
    pub async fn find_pipelines(&mut self, since: DateTime<Utc>) -> sqlx::Result<Vec<ReplayedPipeline>> {
        backtest::find_pipelines(&mut self.db, since, MAX_PIPELINES).await
    }

    /// Counts how often a pipeline began to fail since this time.
    pub async fn count_failures(&mut self, pipeline: PipelineId, since: DateTime<Utc>) -> sqlx::Result<i64> {
        backtest::count_failures(&mut self.db, pipeline, since).await
    }

    /// Replays the runs of a pipeline since this time.
    pub async fn replay(
        &mut self,
        pipeline: PipelineId,
        since: DateTime<Utc>,
    ) -> sqlx::Result<Vec<JudgedRun>> {
        backtest::load(&mut self.db, pipeline, since - TimeDelta::days(LEARNED_DAYS)).await?;
        let mut judged = Vec::new();
        let (mut was_flagged, mut is_expected) = (false, false);
        let mut learned_at = DateTime::<Utc>::MIN_UTC;
        for run in backtest::list_runs(&mut self.db, pipeline, since).await? {
            if was_flagged {
                expectations::accept_regimes(&mut self.db, &[pipeline], run.started_at).await?;
            }
            if was_flagged || !is_expected || run.started_at - learned_at >= LEARNED_FOR {
                expectations::learn(&mut self.db, &[pipeline], run.started_at).await?;
                learned_at = run.started_at;
            }
            let expected = backtest::find_expectation(&mut self.db, pipeline, run.due_at).await?;
            is_expected = expected.is_some();
            let run = judge_past(run, expected, self.poll_interval);
            was_flagged = run.is_slow || run.is_late_start || run.is_late_finish;
            if was_flagged {
                backtest::flag(&mut self.db, run.run.run_id).await?;
            }
            judged.push(run);
        }
        Ok(judged)
    }
}

/// Judges a run as it was before its start, and before its end.
fn judge_past(run: PastRun, expected: Option<Expectation>, poll_interval: f64) -> JudgedRun {
    let PastRun { due_at, started_at, ended_at, is_due, .. } = run;
    let before_start = Sighting { is_due, due_at, started_at: None, seen_at: started_at, poll_interval };
    let before_end = Sighting { started_at: Some(started_at), seen_at: ended_at, ..before_start };
    let signals: Vec<IncidentKind> = expected
        .iter()
        .flat_map(|expected| [judge(expected, &before_start), judge(expected, &before_end)].concat())
        .map(|excess| excess.kind)
        .collect();
    let has = |kind| signals.contains(&kind);
    // Live, a run that is slow already opens no incident for its late end.
    let is_late_first = expected.as_ref().is_some_and(|expected| {
        let slow_at = started_at + TimeDelta::milliseconds((expected.slow_after * 1000.0) as i64);
        due_at + TimeDelta::milliseconds((expected.finish_after * 1000.0) as i64) < slow_at
    });
    JudgedRun {
        is_slow: has(IncidentKind::Slow),
        is_late_start: has(IncidentKind::LateStart),
        is_late_finish: has(IncidentKind::LateFinish) && (is_late_first || !has(IncidentKind::Slow)),
        run,
        expected,
    }
}
