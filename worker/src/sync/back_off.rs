//! Parts of a pipeline that cannot be read: each is reported, and requested again with growing pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use contract::events::UnreadableEntry;
use contract::state::EntityKind;

use super::{SyncError, SyncPass};
use crate::store::histories;

/// What is read of a pipeline besides the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipelinePart {
    History,
    TaskGraph,
}

impl SyncPass<'_> {
    /// Reports a part of a pipeline that cannot be read, and counts the failure.
    pub(super) async fn back_off(
        &self,
        part: PipelinePart,
        pipeline: &str,
        reason: &str,
    ) -> Result<(), SyncError> {
        let connector = self.job.lease.connector_id;
        self.publisher.report_unreadable(EntityKind::Pipeline, pipeline, reason);
        match part {
            PipelinePart::History => drop(histories::count_failure(self.pool, connector, pipeline).await?),
            PipelinePart::TaskGraph => {
                histories::count_graph_failure(self.pool, connector, pipeline).await?;
                let graphs = self.graphs_in_backoff().await?;
                graphs.lock().unwrap_or_else(PoisonError::into_inner).insert(pipeline.to_owned());
            }
        }
        Ok(())
    }

    /// Pipelines whose histories could not be read, and are not tried again yet.
    pub(super) async fn find_histories_in_backoff(&self) -> Result<BTreeSet<String>, SyncError> {
        let connector = self.job.lease.connector_id;
        Ok(self.tried_since_full_sync(histories::find_in_backoff(self.pool, connector).await?))
    }

    /// Pipelines whose task graphs could not be read, and are not tried again in this pass.
    pub(super) async fn graphs_in_backoff(&self) -> Result<&Mutex<BTreeSet<String>>, SyncError> {
        let find = || async {
            let connector = self.job.lease.connector_id;
            let tried_at = histories::find_graphs_in_backoff(self.pool, connector).await?;
            Ok(Mutex::new(self.tried_since_full_sync(tried_at)))
        };
        self.graphs_in_backoff.get_or_try_init(find).await
    }

    /// The pipelines whose last attempt was after the latest full sync was requested, because a full sync
    /// tries each pipeline once more.
    fn tried_since_full_sync(&self, tried_at: BTreeMap<String, DateTime<Utc>>) -> BTreeSet<String> {
        let is_since = |at: DateTime<Utc>| self.job.full_since.is_none_or(|full| at >= full);
        tried_at.into_iter().filter(|(_, at)| is_since(*at)).map(|(name, _)| name).collect()
    }

    /// Reports pipelines in back-off as unreadable.
    pub(super) fn report_in_backoff<'n>(&self, pipelines: impl Iterator<Item = &'n String>) {
        let reason = "its history could not be read; it is tried again with growing pauses";
        let entry = |name: &String| UnreadableEntry::new(EntityKind::Pipeline, name, reason);
        let entries: Vec<_> = pipelines.map(entry).collect();
        self.publisher.count(|report| report.add_unreadable(entries.iter().cloned(), entries.len() as u64));
    }
}
