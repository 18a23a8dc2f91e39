//! Airflow 2 filters a history by the dates of runs, and a run begins at the end of its interval, which may
//! be a month after its date. One list has the runs of an earlier date of all DAGs that ended within the
//! history, so that most histories cost no second request.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

/// How long the list is used for further histories.
const TTL: Duration = Duration::from_secs(600);
/// How much earlier a history may begin than the list: histories are read concurrently.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// The DAGs with such runs.
#[derive(Default)]
pub(super) struct EarlierRuns(Mutex<Option<FoundDags>>);

struct FoundDags {
    since: DateTime<Utc>,
    found_at: Instant,
    /// None when they could not be found, or are too many.
    dags: Option<BTreeSet<String>>,
}

impl EarlierRuns {
    /// Whether this DAG may have runs before the history that begins at this time. The DAGs are found once
    /// for many histories; concurrent ones wait for that.
    pub(super) async fn may_have(
        &self,
        dag: &str,
        since: DateTime<Utc>,
        find: impl Future<Output = Option<BTreeSet<String>>>,
    ) -> bool {
        let mut found = self.0.lock().await;
        let is_known = found
            .as_ref()
            .is_some_and(|found| found.since <= since + TOLERANCE && found.found_at.elapsed() < TTL);
        if !is_known {
            *found = Some(FoundDags { since, found_at: Instant::now(), dags: find.await });
        }
        found.as_ref().and_then(|found| found.dags.as_ref()).is_none_or(|dags| dags.contains(dag))
    }
}
